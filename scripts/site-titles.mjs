/** A plugin of typedoc: the pages of the site have a title of their own, so that of a README in front of it would be a second one. */
import { ReflectionKind, RendererEvent } from "typedoc";

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.renderer.on(RendererEvent.BEGIN, dropTitles);
}

function dropTitles({ project }) {
  for (const reflection of [project, ...project.getReflectionsByKind(ReflectionKind.Module)]) {
    const [first] = reflection.readme ?? [];
    if (first?.kind === "text") first.text = first.text.replace(/^# .*\n+/, "");
  }
}
