process.on("message", (message) => {
  if (typeof message === "number" || message === "end") process.send(message);
});
process.send("up");
