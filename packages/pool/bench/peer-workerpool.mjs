import workerpool from "workerpool";
import { echo, square } from "./peer-functions.mjs";

workerpool.worker({ square, echo });
