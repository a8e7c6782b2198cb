import { ClusterWorker } from "poolifier";
import run from "./peer-functions.mjs";

export default new ClusterWorker(run);
