#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does the simulator find faults? Plants one after another in a copy of the sources, and shows how long it takes to find each.

    tests/sim/planted.py [PATTERN...]     only the faults whose name contains one of the patterns

Each is a replacement of text that must occur exactly once. The sources here are not touched. SECONDS_EACH (120) says how long a
fault may stay hidden; the exit status is 1 if one was not found. FIRST is the first seed (1). SIM_ARGS="--branches 16" hunts in
clustered pools only.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

FAULTS = [
    ("a call leaves before its commit", "src/core/commit.c",
     "    json_decref(message);\n    list_append(&c->txn->effects, &e->link);",
     "    json_decref(message);\n    list_append(&c->effects, &e->link);"),
    ("a reply leaves before its commit", "src/core/commit.c",
     "    e->seq = after > c->durable ? after : 0;\n    list_append(&c->txn->effects, &e->link);",
     "    e->seq = after > c->durable ? after : 0;\n    list_append(&c->effects, &e->link);"),
    ("a forgotten lock", "src/core/op_vm.c",
     "    job_lock(j, API_KIND_VM, vm->id, vm->name, false);\n    for (size_t i = 0; i < kind->n_steps && kind != &job_vm_start",
     "    for (size_t i = 0; i < kind->n_steps && kind != &job_vm_start"),
    ("a shared lock that does not wait for an exclusive one", "src/core/lock.c",
     "if (shared && l->entries[i].shared)", "if (shared || l->entries[i].shared)"),
    ("a failed undo is taken as done", "src/core/job.c",
     "if (r < 0 && !(x.undo && d->moot && e.code == ERR_CONFLICT)) {", "if (r < 0 && !x.undo) {"),
    ("the id of a call is used again for its next attempt", "src/core/job.c", "    s->attempts++;\n", ""),
    ("a lost answer is taken as a failure", "src/core/job.c",
     "        core_send(c, server, json_incref(json_object_get(call, \"message\")));\n",
     "        if (j->state == API_JOB_STATE_RUNNING) {\n"
     "            _cleanup_json_ json_t *lost = json_pack(\"{s:b, s:{s:s, s:s}}\", \"ok\", 0, \"error\", \"code\", \"unavailable\","
     " \"message\", \"lost\");\n"
     "            _cleanup_free_ char *id = xstrdup(json_str(json_object_get(call, \"message\"), \"id\"));\n"
     "            jobs_answer(c, server, id, lost);\n            return;\n        }\n"
     "        core_send(c, server, json_incref(json_object_get(call, \"message\")));\n"),
    ("a call is not sent again after a reconnection", "src/core/job.c",
     "        core_send(c, server, json_incref(json_object_get(call, \"message\")));\n", ""),
    ("a failed commit leaves memory as it was meant to be", "src/core/commit.c",
     "static void txn_rollback(struct core *c, struct txn *t, const struct error *error) {\n    undo_changes(c, t);\n",
     "static void txn_rollback(struct core *c, struct txn *t, const struct error *error) {\n"),
    ("a refused request keeps what it had changed", "src/core/core.c",
     "        core_cancel(c);\n        core_reply_error(c, r->id, &e);",
     "        core_end(c);\n        core_reply_error(c, r->id, &e);"),
    ("a report is applied while a job moves the guest", "src/core/agents.c",
     "    if (jobs_hold(c, old->id)) {\n        hold_report", "    if (jobs_hold(c, old->id) && old->revision < 0) {\n        hold_report"),
    ("a job ends without giving its locks back", "src/core/job.c",
     "    locks_remove(c, j);\n    if (k && k->ended)", "    if (k && k->ended)"),
    ("a template is deleted that has clones", "src/core/job_storage.c", ", .check = template_check_unused", ""),
    ("a disk is deleted that a virtual machine has", "src/core/job_storage.c", ", .check = disk_check_free", ""),
    ("a job that has waited is not checked again", "src/core/job.c",
     "if (!checked && (check_objects", "if (checked && (check_objects"),
    ("answers of ended jobs are kept for ever", "src/core/job.c", "    forget_calls(x);\n", "    (void)forget_calls;\n"),
    ("an agent answers before its record is durable", "src/guest/ops.c",
     "    host_send_answer(h, op);\n    if (op->forget)", "    host_send_text(h, xstrdup(op->answer), false);\n    if (op->forget)"),
    ("a guest is started before its record is durable", "src/guest/guest_ops.c",
     "op->call = host_call(h, CALL_OP, op->kind, json_incref(op->args), true);",
     "op->call = host_call(h, CALL_OP, op->kind, json_incref(op->args), false);"),
    ("a repeated op is carried out again", "src/guest/ops.c",
     "        if (op->state == OP_DONE)\n            host_send_answer(h, op);\n        return;\n    }",
     "        if (op->state != OP_DONE)\n            return;\n        map_remove(&h->ops, id);\n        op_free(op);\n    }"),
    ("ops that had begun are not taken up again", "src/guest/ops.c",
     "        if (op->state == OP_BEGUN)\n            ops[n++] = op;", "        if (op->state == OP_BEGUN && n > 100000)\n            ops[n++] = op;"),
    ("the restart policy acts after a kill", "src/guest/guest_ops.c",
     "    g->r.should_run = false;\n    g->restart_at = NEVER;\n    if (g->r.state == API_VM_STATE_RUNNING ||",
     "    if (g->r.state == API_VM_STATE_RUNNING ||"),
    ("a guest that has moved away is restarted by its old server's policy", "src/guest/restart.c",
     "    if (g->r.move == MOVE_SENT || g->r.move == MOVE_IN)\n        return; /* another server may have it */\n", ""),
    ("a move goes back though its destination may run the guest", "src/core/job.c",
     "(d->forward && !(d->moot && e->code == ERR_CONFLICT))", "(d->forward && !d->moot)"),
    ("a destination that has run the guest says that it never has", "src/guest/move.c",
     "    if (g->r.should_run) { /* it may have run */", "    if (g->r.should_run && !g->vm[0]) {"),
    ("a move is aborted while it is switched", "src/core/job_migrate.c", "{\"switch\", 1, true, switch_over,", "{\"switch\", 1, false, switch_over,"),
    ("a move does not say whose the guest is now", "src/core/job_migrate.c", "        belong(x, true);\n    return r;", "        (void)belong;\n    return r;"),
    ("a source that starts again forgets that it has sent the guest", "src/guest/guests.c",
     "        json_set_str(j, \"move\", host_move_text(r->move));\n", ""),
    ("a server is given up before the hold is over", None, [
        ("src/core/failover.c", "else if (same && still && gone >= HOLD_MS && s->cluster.armed)",
         "else if (same && still && gone >= 0 && s->cluster.armed)"),
        ("src/core/failover.c", "if (gone >= HOLD_MS || fenced)", "if (gone >= 0 || fenced)")], None),
    ("the time that a server is gone runs on without proof, and how old that is is not asked", None, [
        ("src/guest/cluster.c", "cluster_gone_ms(c->ring_at, c->proof)", "(c->ring_at ? h->mono - c->ring_at : 0)"),
        ("src/core/failover.c", "a->quorate_until < as_of && c->began_at < as_of", "a->quorate_until < sent && c->began_at < sent")],
     None),
    ("the time that a server is gone is another member's", "src/core/failover.c",
     "        if (str_eq(state->left[i].server,\n                   server)) /*", "        if (*server) /*"),
    ("half of a pool is a majority", "src/guest/deadman.h", "return nodes / 2 + 1; }", "return (nodes + 1) / 2; }"),
    ("a lease lasts longer than the others wait", "src/guest/deadman.c",
     "if (!d->incarnation || now - d->proof < DEADMAN_PROOF_MS)", "if (!d->incarnation || now - d->proof < 3 * DEADMAN_PROOF_MS)"),
    ("what one other has heard is proof", "src/guest/deadman.c", "if (heard >= needed && p->peers[i].acked > best)",
     "if (heard && p->peers[i].acked > best)"),
    ("an order that came under an older lease is obeyed", None, [
        ("src/guest/deadman.c", "return incarnation && incarnation == d->incarnation &&", "return incarnation && d->incarnation &&"),
        ("src/guest/cluster.c", "(incarnation && incarnation == h->cluster.incarnation)", "h->cluster.incarnation")], None),
    ("the lease is not asked for when a guest starts", None, [
        ("src/guest/deadman.c", "return incarnation && incarnation == d->incarnation && now", "return incarnation || now"),
        ("src/guest/cluster.c", "return !guarded || !armed || (incarnation && incarnation == h->cluster.incarnation);", "return true;")],
     None),
    ("guests start under a deadman that has not been told to kill", "src/guest/cluster.c",
     "{ return armed || !c->wanted_armed; }", "{ return armed || c != NULL; }"),
    ("a server is given up by what was true before", "src/core/failover.c",
     "a->quorate_until < as_of && c->began_at < as_of", "a->quorate_until < sent && c->began_at < sent"),
    ("a guest that was lost while a job held it is left so", None, [
        ("src/core/failover.c", "    return json_bool(x->job->vars, \"lost\", false) &&", "    return vm->revision < 0 &&"),
        ("src/core/agents.c", "            failover_vm_lost(c, g->vm);\n", "            (void)c;\n")], None),
    ("a server that leaves its pool is still chosen", "src/core/place.c",
     "str_eq(j->kind, job_pool_remove.name)", "str_eq(j->kind, \"\")"),
    ("a server that comes back keeps what is another's by now", "src/core/agents.c",
     "        if (failover_stale(c, server, &r->guests[i]))\n            failover_kill_stale",
     "        if (c->revision < 0 && failover_stale(c, server, &r->guests[i]))\n            failover_kill_stale"),
    ("what a server is asked to do is settled while it is only away", "src/core/failover.c",
     "    return s && s->has_cluster && s->cluster.gone;", "    return s && s->has_cluster && !core_agent_is_connected(c, server);"),
    ("a stop is done when the server of a guest that nobody watches is given up", "src/core/job.c",
     "    return vm && str_eq(vm->server, server) && !failover_vm_dies(c, vm);", "    return vm && vm->revision < 0;"),
    ("a kill that is refused calls off what runs", "src/core/op_vm.c",
     "    if (result >= 0 && yields) {", "    if (yields) {"),
    ("room that is promised is not counted", "src/core/load.c", "        return vm->reserved || vm->restarting;\n    case API_VM_STATE_CREATING:",
     "        return false;\n    case API_VM_STATE_CREATING:"),
    ("over-commit of memory is not looked at", "src/core/place.c", "if (r.memory < 0 || p->vm->memory <= left)",
     "if (r.memory < 0 || p->vm->memory <= r.memory)"),
    ("over-commit of CPUs is not looked at", "src/core/place.c", "if (r.cpus < 0 || p->vm->cpus <= left)",
     "if (r.cpus < 0 || p->vm->cpus <= r.cpus)"),
    ("a move counts at one end only", "src/core/load.c",
     "    if (!str_eq(vm->target, vm->server) && vm_counts_at(vm, vm->target))\n        add(c, vm->target, vm, by);\n", ""),
    ("a rule that must be kept is not", "src/core/place.c", "p->rules.uses[i].rule->must ? rule_broken_by", "!p ? rule_broken_by"),
    ("a rule forgets who is on his way", "src/core/place_rules.c", "str_or(vm->target, vm->server)", "vm->server"),
    ("a rule forgets who may come back", "src/core/place_rules.c",
     "    if (u->rule->type == API_RULE_TYPE_APART && moves)\n        count_where(c, u, vm->server);\n",
     "    (void)moves;\n"),
    ("an agent does not look what runs after its start", "src/guest/guest_ops.c",
     "        found_ended(h, g, found, reason);", "        found_alive(h, g, API_VM_STATE_RUNNING, reason);"),
]


def edits_of(fault):
    """Most faults are one edit (path, old, new); where two parts guard the same, a list of them stands in the place of old."""
    name, path, old, new = fault
    return old if path is None else [(path, old, new)]


def plant(tree, edits):
    """Returns what stood there: [(file, text)]."""
    before = []
    for path, old, new in edits:
        name = os.path.join(tree, path)
        with open(name, encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            raise SystemExit(f"planted.py is stale: {path} has {text.count(old)} times:\n{old}")
        with open(name, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
        before.append((name, text))
    return before


def check_all():
    """That none is stale is found before hours of work, not after."""
    for fault in FAULTS:
        for path, old, _ in edits_of(fault):
            with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                if f.read().count(old) != 1:
                    raise SystemExit(f"planted.py is stale: {fault[0]}: {path}")


def hunt(tree, seconds, first):
    subprocess.run(["ninja", "-C", "build", "src/sim/tarn-sim"], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    start = time.monotonic()
    try:
        out = subprocess.run(["build/src/sim/tarn-sim", "--seconds", str(seconds), "--first", str(first), "--shrink", "0",
                              *os.environ.get("SIM_ARGS", "").split()], cwd=tree, check=False, capture_output=True, text=True,
                             errors="replace", timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        return time.monotonic() - start, 0, "it hangs"
    found = re.search(r"^seed (\S+) breaks after ([\d.]+) s, (\d+) schedules: (.*)$", out.stdout, re.M)
    if found:
        return float(found.group(2)), int(found.group(3)), found.group(4)
    if out.returncode < 0:
        return time.monotonic() - start, 0, f"it dies of signal {-out.returncode}"
    return None


def main():
    seconds, first = int(os.environ.get("SECONDS_EACH", "120")), int(os.environ.get("FIRST", "1"))
    wanted = [fault for fault in FAULTS if not sys.argv[1:] or any(word in fault[0] for word in sys.argv[1:])]
    missed = 0
    check_all()
    with tempfile.TemporaryDirectory(prefix="tarn-planted-") as scratch:
        tree = os.path.join(scratch, "tarn")
        shutil.copytree(ROOT, tree, symlinks=True,
                        ignore=lambda folder, names: [n for n in names if folder == ROOT and re.match(r"build|\.git$", n)])
        subprocess.run(["meson", "setup", "build", "--buildtype=debugoptimized", "-Dtests=false", "-Dwerror=false"], cwd=tree, check=True,
                       stdout=subprocess.DEVNULL)
        control = hunt(tree, min(seconds, 30), first)  # what is found without a planted fault proves nothing
        if control:
            raise SystemExit(f"schedule {control[1]} fails without a planted fault: {control[2]}")
        print(f"{'planted fault':76} {'found after':>12} {'schedules':>10}  by")
        for fault in wanted:
            name = fault[0]
            before = plant(tree, edits_of(fault))
            result = hunt(tree, seconds, first)
            for where, text in before:
                with open(where, "w", encoding="utf-8") as f:
                    f.write(text)
            if result:
                print(f"{name:76} {result[0]:10.1f} s {max(result[1], 1):10}  {result[2]}", flush=True)
            else:
                missed += 1
                print(f"{name:76} {'NOT FOUND':>12}", flush=True)
    print(f"{len(wanted) - missed} of {len(wanted)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
