// The work of a child. handler.js names these functions through fromModule().
import { paginateDescribeVolumes } from "@aws-sdk/client-ec2";
import { clientOf } from "./ec2.js";

/** Returns the gigabytes attached to an instance. */
export async function volumesOf(instanceId, endpoint) {
  const query = { Filters: [{ Name: "attachment.instance-id", Values: [instanceId] }] };
  let gigabytes = 0;
  for await (const page of paginateDescribeVolumes({ client: clientOf(endpoint) }, query))
    for (const volume of page.Volumes ?? []) gigabytes += volume.Size ?? 0;
  return gigabytes;
}

/** Sends the gigabytes of an instance, or the error, through a pipe. */
export async function sendVolumes(instanceId, endpoint, connection) {
  await connection.send(await outcome(instanceId, endpoint));
}

/** Handles every instance from a queue, until the queue is shut down and empty. */
export async function sumVolumes(work, results, endpoint) {
  for await (const instanceId of work) await results.put(await outcome(instanceId, endpoint));
}

async function outcome(instanceId, endpoint) {
  try {
    return { gigabytes: await volumesOf(instanceId, endpoint) };
  } catch (error) {
    return { error };
  }
}
