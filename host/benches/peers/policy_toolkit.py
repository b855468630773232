"""One decision of a Python policy toolkit and one entry of its Merkle audit log: the median, in microseconds.

As close to one gated read as it gets: 100 policies of which three apply to the agent, the same facts, one entry in the
log, in memory. It has no sandbox, no host that acts, and no disk.
"""

import statistics
import time

from agentmesh.governance.audit import AuditLog
from agentmesh.governance.policy import Policy, PolicyEngine, PolicyRule

AGENT = "did:mesh:bench-look"
CONTEXT = {
    "action": {"type": "service.status"},
    "resource": {"name": "web", "group": "front"},
    "incident": {"kind": "service_crashed", "severity": 5, "target": "service.web"},
    "used": {"m5": 0, "h1": 0, "d1": 0},
}


def engine():
    made = PolicyEngine()
    for number in range(100):
        agent = AGENT if number < 3 else f"did:mesh:other-{number}"
        rules = [
            PolicyRule(name=f"look-{number}", condition="action.type == 'service.status'", action="allow", priority=1),
            PolicyRule(name=f"stop-{number}", condition="action.type == 'service.stop'", action="deny", priority=2),
        ]
        made.load_policy(Policy(name=f"policy-{number}", agent=agent, rules=rules))
    return made


def main():
    policies, log = engine(), AuditLog()

    def call():
        decision = policies.evaluate(AGENT, CONTEXT)
        assert decision.allowed, decision
        log.log("read", AGENT, "service.status", resource="service.web", policy_decision=decision.action)

    for _ in range(500):
        call()
    times = []
    for _ in range(5_000):
        begun = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begun) / 1_000)
    print(f"{statistics.median(times):.2f}")


if __name__ == "__main__":
    main()
