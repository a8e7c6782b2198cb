import { singleton } from "@multiproc/core/internal";

/** Whether this process is a fork server: an entry that is loaded in it belongs to its children, and must not begin. */
export const role: { isForkServer: boolean } = singleton("fork role", () => ({ isForkServer: false }));
