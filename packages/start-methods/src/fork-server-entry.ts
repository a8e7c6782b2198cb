/** The entry of a fork server; it is started, never imported. */
import { serveForks } from "./fork-server/server-main.ts";

void serveForks();
