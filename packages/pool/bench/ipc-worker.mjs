import process from "node:process";

process.on("message", (x) => process.send(x * x));
