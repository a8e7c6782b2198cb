import process from "node:process";
import { CapabilityError } from "@multiproc/core";
import { ShareableList, SharedArray, SharedMemory, SharedValue } from "@multiproc/shared-memory";
import { expect, test } from "vitest";

process.env.MULTIPROC_SHARED_MEMORY = "off";

test("without shared memory, every constructor throws CapabilityError with the reason", () => {
  for (const make of [
    () => new SharedMemory({ create: true, size: 1 }),
    () => new SharedValue("int32", 0),
    () => new SharedArray("int32", 1),
    () => new ShareableList([1]),
  ]) {
    expect(make).toThrow(CapabilityError);
    expect(make).toThrow("it is turned off by MULTIPROC_SHARED_MEMORY=off");
  }
});
