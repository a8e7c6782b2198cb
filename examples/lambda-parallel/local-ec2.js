/**
 * A server that answers two calls of the EC2 API in the format and with the latency of the real one.
 * 16 instances with one to three volumes each, 624 gigabytes in all.
 */
import { createServer } from "node:http";
import process from "node:process";
import { text } from "node:stream/consumers";

const INSTANCES = 16;
/** The latency of a request from within the region, in milliseconds. */
const LATENCY = Number(process.env.EC2_LATENCY ?? 250);
const NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/";

let endpoint;

/** Starts the server if it is not running. It does not keep the program alive. */
export function localEndpoint() {
  endpoint ??= new Promise((resolve, reject) => {
    const server = createServer(answer).on("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
    server.unref();
  });
  return endpoint;
}

async function answer(request, response) {
  const query = new URLSearchParams(await text(request));
  const { status, body } = answerTo(query);
  setTimeout(() => response.writeHead(status, { "content-type": "text/xml;charset=UTF-8" }).end(body), LATENCY);
}

function answerTo(query) {
  const action = query.get("Action");
  if (action === "DescribeInstances")
    return ok(action, `<reservationSet>${range(INSTANCES).map(reservation).join("")}</reservationSet>`);
  if (action !== "DescribeVolumes")
    return failed("InvalidAction", `The action ${action} is not valid for this web service.`);
  const id = query.get("Filter.1.Value.1");
  const number = /^i-0{14}([0-9a-f]{3})$/.exec(id ?? "")?.[1];
  const index = number === undefined ? INSTANCES : Number.parseInt(number, 16);
  if (index >= INSTANCES) return failed("InvalidInstanceID.NotFound", `The instance ID '${id}' does not exist`);
  return ok(
    action,
    `<volumeSet>${range(1 + (index % 3))
      .map((i) => volume(id, index, i))
      .join("")}</volumeSet>`,
  );
}

function reservation(index) {
  return `<item><reservationId>r-${hex(index)}</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet><item>
<instanceId>i-${hex(index)}</instanceId><imageId>ami-0abcdef1234567890</imageId><instanceState><code>16</code><name>running</name>
</instanceState><instanceType>t3.micro</instanceType><launchTime>2026-11-02T08:15:00.000Z</launchTime></item></instancesSet></item>`;
}

function volume(instanceId, index, i) {
  return `<item><volumeId>vol-${hex(index * 16 + i)}</volumeId><size>${8 * (1 + (index % 4))}</size><status>in-use</status>
<attachmentSet><item><instanceId>${instanceId}</instanceId><device>/dev/sd${"abc"[i]}</device><status>attached</status></item>
</attachmentSet><volumeType>gp3</volumeType><encrypted>true</encrypted></item>`;
}

function ok(action, content) {
  return {
    status: 200,
    body: `<?xml version="1.0" encoding="UTF-8"?>
<${action}Response xmlns="${NAMESPACE}"><requestId>${crypto.randomUUID()}</requestId>${content}</${action}Response>`,
  };
}

function failed(code, message) {
  return {
    status: 400,
    body: `<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>${crypto.randomUUID()}</RequestID></Response>`,
  };
}

function hex(index) {
  return index.toString(16).padStart(17, "0");
}

function range(length) {
  return Array.from({ length }, (_, i) => i);
}
