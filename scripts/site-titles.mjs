/** A plugin of typedoc: removes the title of a README, since the page of the site has its own. */
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
