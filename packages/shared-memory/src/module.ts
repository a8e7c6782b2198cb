/** The module that a receiver loads to get what this package sends. */
export const MODULE: string = new URL(`./mod${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url).href;
