process.on("message", (message) => {
  if (message === "end") process.send(message);
});
process.send("up");
