// The work of a worker: one image.
import sharp from "sharp";

// The pool has one process per CPU. Threads of sharp would compete with them.
sharp.concurrency(1);

/** Writes a thumbnail and returns its size, or the error. One broken image does not end the others. */
export async function thumbnail({ path, target }) {
  try {
    const { size } = await sharp(path).resize(160, 160, { fit: "inside" }).webp().toFile(target);
    return { path, size };
  } catch (error) {
    return { path, error };
  }
}
