/** The entry of a fork server; it is started, never imported. */
import { runForkServer } from "./fork-server/server-main.ts";

void runForkServer();
