// The EC2 API: the real one if there are credentials, else a local server that answers like it.
import process from "node:process";
import { EC2Client, paginateDescribeInstances } from "@aws-sdk/client-ec2";

const clients = new Map();

/** The URL of the API: undefined for the real one. A local server is started once in this process. */
export async function endpointOf() {
  if (process.env.EC2_ENDPOINT) return process.env.EC2_ENDPOINT;
  if (process.env.AWS_ACCESS_KEY_ID) return undefined;
  const { localEndpoint } = await import("./local-ec2.js");
  return localEndpoint();
}

/** One client per process, since it keeps its connections open. */
export function clientOf(endpoint) {
  let client = clients.get(endpoint);
  if (client === undefined) {
    const local = { endpoint, credentials: { accessKeyId: "local", secretAccessKey: "local" } };
    const region = process.env.AWS_REGION ?? "eu-central-1";
    client = new EC2Client({ region, maxAttempts: 2, ...(endpoint ? local : {}) });
    clients.set(endpoint, client);
  }
  return client;
}

/** The ids of all instances of the region. */
export async function instances(endpoint) {
  const ids = [];
  for await (const page of paginateDescribeInstances({ client: clientOf(endpoint) }, {}))
    for (const { Instances = [] } of page.Reservations ?? [])
      ids.push(...Instances.map(({ InstanceId }) => InstanceId));
  return ids;
}
