/** The entry module of a fork server: a program, which no module imports. */
import { runForkServer } from "./fork-server/server-main.ts";

void runForkServer();
