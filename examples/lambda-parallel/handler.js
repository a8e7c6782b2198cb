/**
 * A Lambda function that sums up the volumes attached to every EC2 instance of a region. It works
 * sequentially, or in parallel by processes and pipes, by a pool, or through queues. Each instance
 * costs a request, so most of the time is spent waiting.
 *
 * AWS Lambda has no /dev/shm, which Python's Pool, Queue and Lock need. Python programs there use a
 * process and a pipe per instance instead; here all of them work. The example in Python:
 * https://aws.amazon.com/blogs/compute/parallel-processing-in-python-with-aws-lambda
 */
import { cpuCount, fromModule, getContext, pipe, Queue, setForkserverPreload } from "multiproc";
import { endpointOf, instances } from "./ec2.js";

const module = new URL("./volumes.js", import.meta.url);
const { sendVolumes, sumVolumes, volumesOf } = fromModule(module);

// The SDK takes long to load. The fork server loads it once; each child is a copy that has it.
setForkserverPreload([module]);
const { Pool, Process } = getContext("forkserver");

/** Children spend their time waiting, so there may be several per CPU. 1,024 descriptors and the memory limit them. */
const CHILDREN = Math.min(8, cpuCount() * 4);
/** A slower request fails the invocation, instead of using up the time of the function. */
const LIMIT = 60_000;

const modes = { sequential, processes, pool: inPool, queue: throughQueues };

/**
 * @param {{ mode?: keyof typeof modes, instances?: string[] }} event
 * @returns {Promise<{ mode: string, instances: number, gigabytes: number, seconds: number }>}
 */
export async function handler({ mode = "pool", instances: given } = {}) {
  if (!Object.hasOwn(modes, mode))
    throw new RangeError(`mode is "${mode}": it is one of ${Object.keys(modes).join(", ")}`);
  const endpoint = await endpointOf();
  const ids = given ?? (await instances(endpoint));
  const start = performance.now();
  const gigabytes = await modes[mode](ids, endpoint);
  return { mode, instances: ids.length, gigabytes, seconds: (performance.now() - start) / 1000 };
}

async function sequential(ids, endpoint) {
  const { volumesOf } = await import("./volumes.js");
  let sum = 0;
  for (const id of ids) sum += await volumesOf(id, endpoint);
  return sum;
}

/** A process and a pipe for each instance, as in the well-known example, but never more than `CHILDREN` at a time. */
async function processes(ids, endpoint) {
  const left = ids.values();
  let sum = 0;
  const runOneAfterAnother = async () => {
    for (const id of left) {
      const gigabytes = await inProcess(id, endpoint);
      sum += gigabytes; // `sum += await …` would read the sum before it waits
    }
  };
  await Promise.all(Array.from({ length: Math.min(CHILDREN, ids.length) }, runOneAfterAnother));
  return sum;
}

async function inProcess(id, endpoint) {
  const [receiver, sender] = pipe({ duplex: false });
  const child = new Process({ target: sendVolumes, args: [id, endpoint, sender], daemon: true });
  await child.start();
  try {
    // Receive before join: a child that sends more than a pipe holds waits for its reader.
    const { gigabytes, error } = await receiver.recv({ timeout: LIMIT });
    if (error) throw error; // the error as the child threw it
    await child.join({ timeout: LIMIT });
    return gigabytes;
  } finally {
    receiver.close();
    child.kill();
  }
}

/** The first invocation makes the pool. Later invocations in this instance reuse it. */
let pool;

async function inPool(ids, endpoint) {
  pool ??= new Pool({ processes: CHILDREN });
  const tasks = ids.map((id) => [id, endpoint]);
  const sizes = await pool.starmap(volumesOf, tasks, { chunkSize: 1, timeout: LIMIT });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Consumers take instances from one queue and put the results into another. */
async function throughQueues(ids, endpoint) {
  const work = new Queue();
  const results = new Queue();
  const children = Array.from(
    { length: Math.min(CHILDREN, ids.length) },
    () => new Process({ target: sumVolumes, args: [work, results, endpoint], daemon: true }),
  );
  try {
    await Promise.all(children.map((child) => child.start()));
    for (const id of ids) await work.put(id);
    await work.shutdown(); // from now on, an empty queue ends its consumers
    let sum = 0;
    for (let i = 0; i < ids.length; i++) {
      const { gigabytes, error } = await results.get({ timeout: LIMIT });
      if (error) throw error;
      sum += gigabytes;
    }
    await Promise.all(children.map((child) => child.join({ timeout: LIMIT })));
    return sum;
  } finally {
    for (const child of children) child.kill();
    work.close();
    results.close();
  }
}
