"""What `validate` says of a request that is in order: how it would run."""

from collections import Counter

from dispatch_runner.dispatching.prepare import Prepared
from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.plan import simulate
from dispatch_runner.report.plan import Plan


def plan_of(prepared: Prepared) -> Plan:
    """The plan, by the real scheduler on a virtual clock; times only where estimates are given."""
    tasks = prepared.request.tasks
    graph = Graph(Node(t.task_id, t.dependencies, t.estimated_seconds) for t in tasks)
    priorities = [task.priority for task in tasks]
    run = simulate(graph, prepared.config.max_workers, priorities=priorities)
    path = graph.critical_path()
    timed = any(task.estimated_seconds for task in tasks)
    return Plan(
        tasks=len(tasks),
        agents=dict(Counter(task.agent for task in tasks)),
        layers=[[graph.ids[number] for number in layer] for layer in graph.layers()],
        critical_path=[graph.ids[number] for number in path],
        critical_path_seconds=sum(graph.weight[number] for number in path) if timed else None,
        total_estimated_seconds=sum(graph.weight) if timed else None,
        estimated_makespan_seconds=run.makespan if timed else None,
        widest_point=simulate(graph, None).peak,
        missing_tools=_missing_tools(prepared),
    )


def _missing_tools(prepared: Prepared) -> list[str]:
    names = dict.fromkeys(task.agent for task in prepared.request.tasks)
    agents = filter(None, map(prepared.operator.registry.get, names))
    return sorted({tool for agent in agents for tool in agent.role.missing_tools()})
