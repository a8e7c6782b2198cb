// What a child does for an instance. These functions are named from outside, see fromModule() in handler.js.
import { paginateDescribeVolumes } from "@aws-sdk/client-ec2";
import { clientOf } from "./ec2.js";

/** How many gigabytes are attached to an instance. */
export async function volumesOf(instanceId, endpoint) {
  const query = { Filters: [{ Name: "attachment.instance-id", Values: [instanceId] }] };
  let gigabytes = 0;
  for await (const page of paginateDescribeVolumes({ client: clientOf(endpoint) }, query))
    for (const volume of page.Volumes ?? []) gigabytes += volume.Size ?? 0;
  return gigabytes;
}

/** The same, sent through a pipe; so is the error, for whoever waits at the other end. */
export async function sendVolumes(instanceId, endpoint, connection) {
  await connection.send(await outcome(instanceId, endpoint));
}

/** The same for every instance that is taken from a queue, until that is shut down and empty. */
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
