/**
 * The watchdog: kills the children of a process and removes its files after the process has ended.
 *
 * Every process that has children owns one *watchdog*: a tiny program that reads from a pipe. Only
 * the owner has the writing end. The owner reports each child before that child runs user code.
 * When the owner ends, even by SIGKILL, the kernel closes the pipe. The watchdog then kills the
 * remaining children, removes the socket folder, and exits.
 *
 * ```text
 *   owner ──pipe── watchdog       owner is SIGKILLed:   watchdog ── SIGKILL ──> child
 *     ├── child                                             └───── rm -rf ────> socket folder
 *     └── child ──pipe── its watchdog                   its watchdog then kills the children of the child
 * ```
 *
 * A child in an endless loop is killed too. The child itself needs no thread and no timer for that.
 * The watchdog is a shell script, because a shell starts fast and takes under 1 MB of memory. On a
 * system without a shell, Node runs the same program in JavaScript. Deno then has no watchdog.
 *
 * The arguments are the socket folder (empty for none) and the pids of the children. Each line of
 * the input is a command: `watch PID`, `forget PID`, or `own FOLDER` for a folder that was created
 * later. The watchdog also deletes files of ended processes in the folders of named segments, see
 * `named-segment.ts`.
 */

/** The watchdog as a shell script. */
export const WATCHDOG_SH = `
trap '' HUP INT QUIT TERM PIPE TSTP
owner=$PPID
folder=$1
shift
children=$*
removeNames() {
  for names in /tmp/multiproc-names-* /var/tmp/multiproc-names-* /dev/shm/multiproc-names-*; do
    [ -d "$names" ] || continue
    for process in "$@"; do
      for file in "$names"/*/"$process".*; do [ ! -e "$file" ] || rm -f -- "$file"; done
    done
    for name in "$names"/*; do [ ! -d "$name" ] || rmdir -- "$name"; done
    rmdir -- "$names"
  done
} 2>/dev/null
while read -r command argument; do
  case $command in
    watch) children="$children $argument" ;;
    own) folder=$argument ;;
    forget) rest=; for c in $children; do [ "$c" = "$argument" ] || rest="$rest $c"; done; children=$rest; removeNames "$argument" ;;
  esac
done
for c in $children; do kill -9 "$c"; done 2>/dev/null
[ -z "$folder" ] || rm -rf -- "$folder"
removeNames "$owner" $children
`;

/** The watchdog as a script for Node. */
export const WATCHDOG_JS = `
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) try { process.on(signal, () => {}); } catch {}
const fs = require("fs");
const owner = process.ppid;
let [folder, ...pids] = process.argv.slice(1);
const children = new Set(pids.map(Number));
const list = (path) => { try { return fs.readdirSync(path); } catch { return []; } };
const remove = (path) => { try { fs.rmdirSync(path); } catch {} };
const removeNames = (ended) => {
  for (const parent of ["/tmp", "/var/tmp", "/dev/shm"])
    for (const names of list(parent).filter((each) => each.startsWith("multiproc-names-")).map((each) => parent + "/" + each)) {
      for (const name of list(names).map((each) => names + "/" + each)) {
        for (const file of list(name)) if (ended.includes(parseInt(file))) fs.rmSync(name + "/" + file, { force: true });
        remove(name);
      }
      remove(names);
    }
};
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const command = line.slice(0, line.indexOf(" ")), argument = line.slice(command.length + 1);
  if (command === "own") folder = argument;
  else if (command === "watch") children.add(Number(argument));
  else { children.delete(Number(argument)); removeNames([Number(argument)]); }
}).on("close", () => {
  for (const pid of children) try { process.kill(pid, "SIGKILL"); } catch {}
  if (folder !== "") fs.rmSync(folder, { recursive: true, force: true });
  removeNames([owner, ...children]);
});
`;
