/** What a child is told by its parent at its start, before it loads anything else. */
import { singleton } from "./registry.ts";

/** Where this child opens its door, if it does; the parent removes what is left of it. None in the first process of a family. */
export const inherited: { place: string | undefined } = singleton("inheritance", () => ({ place: undefined }));
