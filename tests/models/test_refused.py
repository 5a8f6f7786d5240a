"""What every call would be refused for stops the run after a few: no such model, no such address, no key."""

from __future__ import annotations

from pathlib import Path

import pytest
from models.support import REMOTE, ask, at, gateway, run

from sgforge.models import Gateway, ModelError, ModelSettings
from sgforge.models.limits.retry import judge
from sgforge.models.wire.failures import http_error
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings

# Bodies as vendors and servers send them.
NO_MODEL = {
    "openai": b'{"error": {"message": "The model `x` does not exist or you do not have access to it.", "type": '
    b'"invalid_request_error", "param": null, "code": "model_not_found"}}',
    "anthropic": b'{"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}, '
    b'"request_id": "req_1"}',
    "vllm": b'{"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", '
    b'"code": 404}}',
    "ollama": b'{"error": {"message": "model \\"x\\" not found, try pulling it first", "type": "api_error"}}',
}
NO_MODEL_400 = (
    b'{"error": {"message": "/chat/completions: Invalid model name passed in model=x. Call `/v1/models`"}}',
    b'{"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": null, "code": "1500"}',
    b'{"error": {"message": "x is not a valid model ID", "code": 400}}',
    b'{"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}',
)
NO_ENDPOINT = (
    b"404 page not found",
    b'{"detail": "Not Found"}',
    b'{"error": {"message": "Invalid URL (POST /chat/completions)", "type": "invalid_request_error"}}',
    b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>our model zoo has moved</body></html>",
)
ONE_CALL = (
    b'{"error": {"message": "Invalid image", "type": "invalid_request_error", "code": "invalid_image"}}',
    b'{"error": {"message": "This model\'s maximum context length is 8192 tokens", "code": "context_length_exceeded"}}',
    b'{"type": "error", "error": {"type": "invalid_request_error", "message": "image exceeds 5 MB maximum"}}',
)


@pytest.mark.parametrize("server", NO_MODEL)
def test_an_unknown_model_is_known_by_its_404(server: str) -> None:
    assert http_error(404, {}, NO_MODEL[server]).blame == "model"


@pytest.mark.parametrize("body", NO_MODEL_400)
def test_an_unknown_model_is_known_by_its_400(body: bytes) -> None:
    assert http_error(400, {}, body).blame == "model"


@pytest.mark.parametrize("body", NO_ENDPOINT)
def test_an_address_that_is_no_endpoint_is_known(body: bytes) -> None:
    assert http_error(404, {}, body).blame == "address"
    assert http_error(405, {}, body).blame == "address"


@pytest.mark.parametrize("body", ONE_CALL)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_other_refusals_concern_one_call(status: int, body: bytes) -> None:
    assert http_error(status, {}, body).blame is None


NO_MONEY = {
    429: b'{"error": {"message": "You exceeded your current quota, please check your plan and billing details.", '
    b'"type": "insufficient_quota", "param": null, "code": "insufficient_quota"}}',
    400: b'{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to '
    b'access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}',
}


@pytest.mark.parametrize("status", NO_MONEY)
def test_an_account_without_money_is_not_waited_for(status: int) -> None:
    error = http_error(status, {"retry-after": "1"}, NO_MONEY[status])
    assert error.blame == "account"
    assert judge(error) == "refused"
    assert judge(http_error(429, {}, b'{"error": {"message": "Rate limit reached for gpt-4o"}}')) == "retry"


@pytest.mark.parametrize("name", REMOTE)
def test_an_account_without_money_stops_the_run(name: str, tmp_path: Path) -> None:
    async def work() -> list[ModelError]:
        async with gateway(tmp_path) as opened:
            return await ask_often(opened, name, at(fake, name, deadline_s=3600.0))

    with FakeProvider(lambda _: FakeAnswer("insufficient_quota", 429, retry_after_s=600.0)) as fake:
        errors = run(work())
    assert [error.stops_run for error in errors] == [False, False, True, True, True]
    assert "check the key, its permissions and the account" in errors[2].detail


async def ask_often(opened: Gateway, name: str, settings: ModelSettings, times: int = 5) -> list[ModelError]:
    """The errors of calls one after the other."""
    model, errors = opened.bind(name, settings), []
    for number in range(times):
        with pytest.raises(ModelError) as caught:
            await model.complete(ask(f"{number}"))
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize("name", REMOTE)
def test_an_unknown_model_stops_the_run(name: str, tmp_path: Path) -> None:
    async def work() -> list[ModelError]:
        async with gateway(tmp_path) as opened:
            errors = await ask_often(opened, name, at(fake, name))
            assert opened.spent_usd() == 0
            return errors

    with FakeProvider(settings=FakeSettings(models=frozenset({"another"}))) as fake:
        errors = run(work())
        assert fake.ledger.received == 3
    assert [error.stops_run for error in errors] == [False, False, True, True, True]
    assert errors[2].reason == "http_404"
    assert errors[2].detail == (
        f"{name} refused 3 calls in a row with HTTP 404 (the model m does not exist): check the model's name, and "
        "whether the account may use it (a local server must have it loaded), then run again; finished work is kept"
    )


@pytest.mark.parametrize("name", REMOTE)
def test_an_address_that_is_no_endpoint_stops_the_run(name: str, tmp_path: Path) -> None:
    with FakeProvider() as fake:
        wrong = f"{fake.anthropic_url}/elsewhere"

        async def work() -> list[ModelError]:
            async with gateway(tmp_path) as opened:
                return await ask_often(opened, name, ModelSettings(base_url=wrong))

        errors = run(work())
    assert [error.stops_run for error in errors] == [False, False, True, True, True]
    assert "HTTP 404 (404: Not Found): check base_url" in errors[2].detail


def test_a_model_that_answers_does_not_hide_one_that_never_does(tmp_path: Path) -> None:
    def script(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer("fine") if request.model == "good" else FakeAnswer("no model of that name", 404)

    async def work() -> list[bool]:
        async with gateway(tmp_path) as opened:
            good, bad = opened.bind("compat/good", at(fake, "compat")), opened.bind("compat/bad", at(fake, "compat"))
            found = []
            for number in range(3):
                await good.complete(ask(f"{number}"))
                with pytest.raises(ModelError) as caught:
                    await bad.complete(ask(f"{number}"))
                found.append(caught.value.stops_run)
            return found

    with FakeProvider(script) as fake:
        assert run(work()) == [False, False, True]
