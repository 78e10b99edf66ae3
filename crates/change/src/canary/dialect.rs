//! How clients speak to a model: Anthropic's messages, OpenAI's chat completions and responses, Gemini's
//! generateContent. Pure: a request in, the text of an answer out.

use serde_json::{Value, json};

use super::Call;

/// One of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Completions,
    Responses,
    Messages,
    Gemini { streams: bool },
}

/// A request, read.
pub(super) struct Turn {
    pub(super) offers_tools: bool,
    /// What the tools gave, oldest first.
    pub(super) results: Vec<String>,
}

impl Dialect {
    pub(super) fn of(path: &str) -> Option<Dialect> {
        let ends = [
            ("/chat/completions", Dialect::Completions),
            ("/responses", Dialect::Responses),
            ("/messages", Dialect::Messages),
            (":streamGenerateContent", Dialect::Gemini { streams: true }),
            (":generateContent", Dialect::Gemini { streams: false }),
        ];
        ends.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, dialect)| dialect)
    }

    pub(super) fn kind(self, body: &Value) -> &'static str {
        let is_whole = match self {
            Dialect::Gemini { streams } => !streams,
            _ => body["stream"] != json!(true),
        };
        if is_whole { "application/json" } else { "text/event-stream" }
    }

    pub(super) fn read(self, body: &Value) -> Turn {
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let results = match self {
            Dialect::Completions => {
                list("messages").iter().filter(|m| m["role"] == "tool").map(|m| text(&m["content"])).collect()
            }
            Dialect::Responses => {
                let is_result = |item: &Value| item["type"].as_str().is_some_and(|kind| kind.ends_with("call_output"));
                list("input").iter().filter(|item| is_result(item)).map(|item| text(&item["output"])).collect()
            }
            Dialect::Messages => {
                let parts =
                    list("messages").into_iter().flat_map(|m| m["content"].as_array().cloned().unwrap_or_default());
                parts.filter(|part| part["type"] == "tool_result").map(|part| text(&part["content"])).collect()
            }
            Dialect::Gemini { .. } => {
                let parts =
                    list("contents").into_iter().flat_map(|c| c["parts"].as_array().cloned().unwrap_or_default());
                let given = parts.filter_map(|part| part.get("functionResponse").map(|given| text(&given["response"])));
                given.collect()
            }
        };
        Turn { offers_tools: !list("tools").is_empty(), results }
    }

    pub(super) fn say(self, body: &Value, words: &str) -> String {
        match self {
            Dialect::Completions => completion(body, &json!({"role": "assistant", "content": words}), "stop"),
            Dialect::Responses => response(
                body,
                &json!({"type": "message", "id": "message", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": words, "annotations": []}]}),
            ),
            Dialect::Messages => {
                let block = json!({"type": "text", "text": words});
                message(
                    body,
                    &block,
                    &json!({"type": "text", "text": ""}),
                    &json!({"type": "text_delta", "text": words}),
                    "end_turn",
                )
            }
            Dialect::Gemini { streams } => gemini(streams, &json!({"text": words})),
        }
    }

    pub(super) fn call(self, body: &Value, id: &str, call: &Call) -> String {
        let arguments = call.arguments.to_string();
        match self {
            Dialect::Completions => {
                let function = json!({"name": call.tool, "arguments": arguments});
                let calls = json!([{"index": 0, "id": id, "type": "function", "function": function}]);
                completion(body, &json!({"role": "assistant", "tool_calls": calls}), "tool_calls")
            }
            Dialect::Responses => response(
                body,
                &json!({"type": "function_call", "id": id, "call_id": id, "status": "completed",
                    "name": call.tool, "arguments": arguments}),
            ),
            Dialect::Messages => {
                let block = |input: Value| json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": call.tool, "input": input});
                let delta = json!({"type": "input_json_delta", "partial_json": arguments});
                message(body, &block(call.arguments.clone()), &block(json!({})), &delta, "tool_use")
            }
            Dialect::Gemini { streams } => {
                gemini(streams, &json!({"functionCall": {"id": id, "name": call.tool, "args": call.arguments}}))
            }
        }
    }
}

/// The text in a string, in a list of parts, or in whatever else a result is.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn events(list: &[Value]) -> String {
    let named = |event: &Value| event["type"].as_str().map(|kind| format!("event: {kind}\n")).unwrap_or_default();
    list.iter().map(|event| format!("{}data: {event}\n\n", named(event))).collect()
}

fn completion(body: &Value, message: &Value, reason: &str) -> String {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let head = |choices: Value| json!({"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": choices});
    if body["stream"] != json!(true) {
        let mut whole = head(json!([{"index": 0, "message": message, "finish_reason": reason}]));
        whole["object"] = "chat.completion".into();
        whole["usage"] = usage;
        return whole.to_string();
    }
    let first = head(json!([{"index": 0, "delta": message, "finish_reason": null}]));
    let mut last = head(json!([{"index": 0, "delta": {}, "finish_reason": reason}]));
    last["usage"] = usage;
    events(&[first, last]) + "data: [DONE]\n\n"
}

fn response(body: &Value, item: &Value) -> String {
    let usage = json!({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2});
    let whole = |output: Value, status: &str| json!({"id": "scripted", "object": "response", "created_at": 0, "model": "scripted", "output": output, "usage": usage, "status": status});
    let done = whole(json!([item]), "completed");
    if body["stream"] != json!(true) {
        return done.to_string();
    }
    events(&[
        json!({"type": "response.created", "response": whole(json!([]), "in_progress")}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": done}),
    ])
}

fn message(body: &Value, block: &Value, begin: &Value, delta: &Value, reason: &str) -> String {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let model = body["model"].as_str().unwrap_or("scripted");
    let whole = |content: Value, reason: Value| {
        json!({"id": "msg_scripted", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": reason, "stop_sequence": null, "usage": usage})
    };
    if body["stream"] != json!(true) {
        return whole(json!([block]), reason.into()).to_string();
    }
    events(&[
        json!({"type": "message_start", "message": whole(json!([]), Value::Null)}),
        json!({"type": "content_block_start", "index": 0, "content_block": begin}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ])
}

fn gemini(streams: bool, part: &Value) -> String {
    let event = json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": "scripted",
    });
    if streams { events(&[event]) } else { event.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_results_are_found_in_every_dialect() {
        for (path, body) in [
            ("/v1/chat/completions", json!({"tools": [1], "messages": [{"role": "tool", "content": "x"}]})),
            ("/v1/responses", json!({"tools": [1], "input": [{"type": "function_call_output", "output": "x"}]})),
            (
                "/v1/messages",
                json!({"tools": [1], "messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "x"}]}]}]}),
            ),
            (
                "/v1beta/models/m:streamGenerateContent",
                json!({"tools": [1], "contents": [{"parts": [{"functionResponse": {"response": "x"}}]}]}),
            ),
        ] {
            let turn = Dialect::of(path).unwrap().read(&body);
            assert!(turn.offers_tools && turn.results == ["x"], "{path}");
        }
        assert_eq!(Dialect::of("/v1/models"), None);
    }
}
