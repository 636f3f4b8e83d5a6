# SPDX-License-Identifier: Apache-2.0
"""Full disks: of a repository during a deploy, of the manager's store during changes. Small tmpfs mounts in a mount
namespace of the daemon's own (and a user namespace where the tests don't run as root)."""

import os

import cluster
import rest


def in_small_tmpfs(path, size, args):
    """The command, run where path is a tmpfs of this size."""
    os.makedirs(path, exist_ok=True)
    spaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-current-user", "--keep-caps"]
    return ["unshare", *spaces, "--propagation=private", "--", "sh", "-c",
            'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"', size, path, *args]


class SmallAgent(cluster.Agent):
    def spawn(self, args, env=None):
        super().spawn(in_small_tmpfs(self.repository, "24m", args), env)


class FullRepository(cluster.unittest.TestCase):
    def test_full_disk_during_deploy(self):
        c = cluster.Cluster(0)
        self.addCleanup(c.close)
        c.AGENT = SmallAgent
        c.start()
        agent = c.add_agent("small")
        c.repository(agent=agent)
        image = os.path.join(c.dir, "disk.raw")
        with open(image, "wb") as f:
            f.write(os.urandom(15 << 20))
        c.api.do("/templates", {"name": "big", "image": {"path": image, "format": "raw"}})
        with self.assertRaises(rest.JobFailed) as failed:
            c.api.do("/vms", {"name": "full", "template": "big", "clone": "full"}, timeout=60)
        self.assertEqual(failed.exception.code, "no-space", failed.exception)
        self.assertIn("small", failed.exception.message + str(failed.exception.job["steps"]))
        self.assertEqual(c.api.list("/vms"), [])
        self.assertEqual(c.api.list("/disks"), [])
        root = f"/proc/{agent.pid}/root"
        self.assertEqual(os.listdir(root + agent.repository + "/disks"), [], "nothing is left half made")
        # A linked clone still fits.
        c.api.do("/vms", {"name": "linked", "template": "big"}, timeout=60)
        c.api.remove("/vms/linked")

    def test_full_disk_of_the_store(self):
        c = cluster.Cluster(0)
        self.addCleanup(c.close)
        manager = c.manager
        plain = manager.spawn
        manager.spawn = lambda args, env=None: plain(in_small_tmpfs(manager.state, "8m", args), env)
        # Its CA is inside the mount: read it through /proc.
        cluster.Manager.ca = property(lambda self: f"/proc/{self.pid}/root{self.state}/ca.pem" if self is manager
                                      else os.path.join(self.state, "ca.pem"))
        manager.password = lambda: open(f"/proc/{manager.pid}/root{manager.state}/admin-password").read().strip()
        c.start()
        filler = f"/proc/{manager.pid}/root{manager.state}/filler"
        with open(filler, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
        kept, refused = [], None
        for number in range(200):
            answer = c.api.raw("POST", "/users", {"name": f"u{number}", "password": "longenough", "full_name": "x" * 200})
            if answer.status == 200 or answer.status == 201:
                kept.append(f"u{number}")
            else:
                refused = answer
                break
        self.assertIsNotNone(refused, "the store never filled up")
        self.assertIn((refused.status, refused.json["code"]), ((507, "no-space"), (503, "read-only")), refused.data)
        self.assertIn("space", refused.json["message"].lower())
        about = c.api.get("/about")
        self.assertTrue(about["read_only"])
        self.assertTrue(about["read_only_reason"])
        self.assertEqual(len(c.api.list("/users")), len(kept) + 1, "reading goes on, and shows what is durable")
        os.unlink(filler)
        cluster.wait_until(lambda: not c.api.get("/about")["read_only"], 20, "changes being taken again")
        c.api.post("/users", {"name": "afterwards", "password": "longenough"})
        self.assertEqual(sorted(u["name"] for u in c.api.list("/users")), sorted([*kept, "admin", "afterwards"]))
