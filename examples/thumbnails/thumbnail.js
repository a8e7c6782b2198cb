// What a worker does with an image.
import sharp from "sharp";

// The pool has a process for each CPU; sharp's own threads would get in their way.
sharp.concurrency(1);

/** Writes a thumbnail and tells how big it is. What goes wrong with one image is told, and does not end the others. */
export async function thumbnail({ path, target }) {
  try {
    const { size } = await sharp(path).resize(160, 160, { fit: "inside" }).webp().toFile(target);
    return { path, size };
  } catch (error) {
    return { path, error };
  }
}
