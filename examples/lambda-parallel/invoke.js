/**
 * Invokes the handler as Lambda does, once for each event, in one process that stays warm.
 *
 *   node examples/lambda-parallel/invoke.js                          every mode, and a warm pool
 *   node examples/lambda-parallel/invoke.js '{"mode":"queue"}' …     the events given
 */
import process from "node:process";
import { handler } from "./handler.js";

const events = process.argv.slice(2).map((text) => JSON.parse(text));
const all = ["sequential", "processes", "queue", "pool", "pool"].map((mode) => ({ mode }));

for (const event of events.length > 0 ? events : all) {
  try {
    const { mode, instances, gigabytes, seconds } = await handler(event);
    console.log(`${mode}: ${gigabytes} GB in the volumes of ${instances} instances, ${seconds.toFixed(2)} s`);
  } catch (error) {
    console.log(`${event.mode ?? "pool"}: failed with ${error.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
