import { ThreadWorker } from "poolifier";
import run from "./peer-functions.mjs";

export default new ThreadWorker(run);
