"""What a node is called and how it is summed up: its own name, not that of a node it works with."""

import pytest

from dispatch_runner.agents.coder.contract import find_contract, read_contract
from dispatch_runner.agents.coder.generate import generate, read
from dispatch_runner.agents.coder.naming import (
    guess_name,
    name_of_fields,
    own_name,
    strip_name,
    summarise,
)


def class_of(text: str, node_type: str, path: str = "/x/node.py") -> str:
    source = generate(text, node_type, path).source  # type: ignore[arg-type]
    return source.partition(":")[0].removeprefix('"""')


@pytest.mark.parametrize(
    "text",
    [
        "First it fetches the page with NodeWebPageFetchEffect, then stores it with NodePageStoreEffect.",
        "Coordinates NodeWebPageFetchEffect and NodePageArchiveOrchestrator.",
        "The page archive orchestrator runs NodeOtherOrchestrator first.",
        "Runs after node_page_index_orchestrator has ended.",
    ],
)
def test_a_node_that_is_worked_with_is_not_the_one_described(text):
    assert own_name(text, "Orchestrator") == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "NodePageArchiveOrchestrator: fetches a page with NodeWebPageFetchEffect",
        "Please build the NodePageArchiveOrchestrator, which uses NodeWebPageFetchEffect.",
        "It uses NodeWebPageFetchEffect. The class is named NodePageArchiveOrchestrator.",
        "A node, NodePageArchiveOrchestrator, for archives",
    ],
)
def test_the_class_of_the_asked_type_is_the_nodes_own(text):
    assert own_name(text, "Orchestrator") == ("PageArchive", "NodePageArchiveOrchestrator")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a node called web-page-fetch", "WebPageFetch"),
        ('a node named "web page fetch"', "WebPageFetch"),
        ("The node is named for what it does", ""),
        ("It is called when a page is stored", ""),
        ("make node_web_page_fetch_effect", "WebPageFetch"),
    ],
)
def test_a_name_is_what_a_text_calls_the_node(text, name):
    assert own_name(text, "Effect")[0] == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("node_web_page_fetch_effect", "WebPageFetch"),
        ("NodeWebPageFetchEffect", "WebPageFetch"),
        ("node_node_graph_reducer", "NodeGraph"),
        ("node_scoring_reducer_compute", "ScoringReducer"),
        ("compute node", "Compute"),
    ],
)
def test_only_the_outer_node_and_type_are_no_part_of_the_name(text, name):
    assert strip_name(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("## Ledger write node (effect)\n\nAppends events to a table.", "LedgerWrite"),
        ("Pure compute node that turns the output of a build into a stable digest", "StableDigest"),
        ("The document ingestion orchestrator coordinates NodeXEffect.", "DocumentIngestion"),
        ("compute node.\n\nchunk statistics: receives lengths", "ChunkStatistics"),
        ("Takes a and b and returns c", ""),
        ("Reducer.", ""),
    ],
)
def test_a_name_is_guessed_from_the_head_of_what_the_node_is_or_does(text, name):
    assert guess_name(text) == name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (["added_keys", "removed_keys", "changed_keys"], "AddedRemovedChangedKeys"),
        (["count", "sum", "mean", "median"], "CountSumMean"),
        (["session_count", "total_duration", "average_duration"], "SessionCountTotalDuration"),
        (["very_long_name_of_a_field"], "VeryLongNameOf"),
        ([], ""),
    ],
)
def test_a_name_from_fields_has_at_most_four_words_and_none_twice(fields, name):
    assert name_of_fields(fields) == name


@pytest.mark.parametrize(
    "contract",
    [
        "workflow_coordination:\n  workflow_definition:\n    workflow_metadata:\n      workflow_name: page_archive\n{}",
        "workflow_definition:\n  workflow_metadata: {{workflow_name: page_archive}}\n{}",
        "node_type: ORCHESTRATOR\nworkflow_name: page_archive\n{}",
    ],
)
def test_a_workflow_without_a_name_of_its_own_has_the_workflows(contract):
    graph = "    execution_graph:\n      nodes: [{node_id: fetch, target_node_type: NodeWebPageFetchEffect}]\n"
    graph = (
        graph
        if "workflow_coordination" in contract
        else "steps: [{name: fetch, target: NodeXEffect}]\n"
    )

    assert class_of(contract.format(graph), "Orchestrator") == "NodePageArchiveOrchestrator"


@pytest.mark.parametrize(
    ("rest", "class_name"),
    [
        ("input_model: ModelLLMRouteRequest\n", "NodeLLMRouteEffect"),
        ("input_model: ModelLlmRouteRequest\n", "NodeLlmRouteEffect"),
        ("# Node: NodeLlmROUTEEffect\n", "NodeLlmROUTEEffect"),
    ],
)
def test_a_name_is_spelled_as_the_contracts_own_classes_are(rest, class_name):
    contract = f"name: node_llm_route_effect\nnode_type: EFFECT_GENERIC\n{rest}"

    assert class_of(contract, "Effect") == class_name


def test_models_that_are_both_named_after_the_class_tell_its_name():
    contract = (
        "name: node_setup_page_effect\nnode_type: EFFECT\ninput_model: ModelPageSetupEffectInput\n"
        "output_model: ModelPageSetupEffect{}\n"
    )

    assert class_of(contract.format("Output"), "Effect") == "NodePageSetupEffect"
    assert class_of(contract.format("Thing"), "Effect") == "NodeSetupPageEffect"


def test_fsm_is_part_of_a_node_name_and_not_of_the_one_that_a_machine_gives():
    named = find_contract("name: node_task_fsm_reducer\nnode_type: REDUCER\n")
    machine = find_contract(
        "node_type: REDUCER\nstate_transitions: {state_machine_name: task_fsm}\n"
    )

    assert named is not None
    assert machine is not None
    assert read_contract(named).name == "TaskFsm"
    assert read_contract(machine).name == "Task"


def test_the_error_of_a_node_is_not_the_name_of_one_that_is_there_already():
    source = generate(
        "Orchestrator called validation. Steps: a, b", "Orchestrator", "/x/o.py"
    ).source

    assert "class ValidationOrchestratorError(Exception):" in source
    assert "except ValidationError as error:" in source
    assert (
        "class TimeoutEffectError" in generate("Effect called timeout", "Effect", "/x/o.py").source
    )


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("Write a reducer that aggregates feedback. Every event has x.", "aggregates feedback"),
        ("I need a compute node called words. It counts words.", "counts words"),
        ("An Effect node called page that fetches a page. Takes url.", "fetches a page"),
        ("Orchestrator for registering nodes. Takes x.", "Orchestrator for registering nodes"),
        ("Reducer node named life for a run: a -> b on c.", "Reducer node for a run"),
        ("Sends alerts to a channel. Takes text.", "Sends alerts to a channel"),
    ],
)
def test_the_summary_says_what_the_node_does_and_not_that_it_has_to_be_written(text, summary):
    assert summarise(text) == summary


def test_a_description_keeps_every_word_of_its_sentences():
    text = "First it fetches the page with NodeWebPageFetchEffect, then stores it."

    assert read(text, "Orchestrator", {}).description == text


def test_a_json_object_that_is_no_contract_is_read_as_the_texts_inside_it():
    text = '{"task": "compute node", "what": "word count: takes text and returns word_count"}'
    reading = read(text, "Compute", {})

    assert reading.name == "WordCount"
    assert reading.description == "compute node. word count: takes text and returns word_count."
