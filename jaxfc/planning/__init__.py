"""What a run would be on a machine that one may not have: its programs, compiled there ahead of time, and read."""

from jaxfc.planning.ahead import Plan, plan, plan_search
from jaxfc.planning.topologies import Topology, topology

__all__ = ["Plan", "Topology", "plan", "plan_search", "topology"]
