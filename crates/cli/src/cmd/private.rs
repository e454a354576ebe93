//! What `ask` and `chat` say of a private answer: its cost, what it would cost at home, who was left out.

use serde_json::{Value, json};

use crate::net::answer::Answer;
use crate::net::private::PrivateCost;

/// The cost as JSON. Bytes are those of frames, summed over holders; rounds are exchanges in turn.
pub(super) fn value(cost: &PrivateCost, answer: &Answer) -> Value {
    let t = &cost.traffic;
    let (up, down): (u64, u64) = (t.up.iter().sum(), t.down.iter().sum());
    let [prompt, step] = cost.formula;
    let tokens = answer.bundle.inference.answer.len() as f64;
    let steps = t.steps as u64;
    let scheme = (
        answer.bundle.holders.threshold,
        answer.bundle.holders.points,
    );
    let [deal, check, reconstruct] = cost.phases_s;
    json!({
        "scheme": [scheme.0, scheme.1],
        "prompt_rows": t.prompt_rows,
        "step_rows": t.width,
        "steps": {"with_tokens": t.real_steps, "all": t.steps},
        "drafts": {"guessed": t.drafts, "right": t.drafts_right},
        "flights": t.flights,
        "rows": t.rows,
        "bytes_up": up,
        "bytes_down": down,
        "bytes_formula": {
            "step_up": step.0,
            "step_down": step.1,
            "steps_up": step.0 * steps,
            "steps_down": step.1 * steps,
            "prompt_up_one_flight": prompt.0,
            "prompt_down_one_flight": prompt.1,
        },
        "rounds_per_step": step.2,
        "rounds_per_token": step.2 as f64 * t.real_steps as f64 / (tokens - 1.0).max(1.0),
        "bytes_per_token": (step.0 + step.1) as f64 * t.real_steps as f64 / (tokens - 1.0).max(1.0),
        "client_cpu_s": cost.cpu_s,
        "phases_s": {"deal": deal, "check": check, "reconstruct": reconstruct},
        "check_share_of_client_cpu": cost.cpu_s.map(|s| check / s),
        "local": cost.local.map(|l| {
            let whole = l.prompt_s + l.token_s * (tokens - 1.0).max(0.0);
            json!({"prompt_s": l.prompt_s, "token_s": l.token_s, "answer_s": whole,
                "client_cpu_ratio": cost.cpu_s.map(|s| s / whole)})
        }),
    })
}

/// Holders that were left out.
pub(super) fn liars(cost: &PrivateCost) -> Vec<Value> {
    let liar = |(node, operator, evidence): &(String, String, Option<String>)| json!({"node": node, "operator": operator, "evidence": evidence});
    cost.liars.iter().map(liar).collect()
}

/// Lines for people, from [`value`].
pub(super) fn lines(v: &Value) -> Vec<String> {
    let number = |v: &Value| v.as_f64();
    let mut all = Vec::new();
    if let (Some(up), Some(down)) = (number(&v["bytes_up"]), number(&v["bytes_down"])) {
        all.push(format!(
            "traffic    {:.1} MB up, {:.1} MB down, {} exchanges in turn per step of {} rows",
            up / 1e6,
            down / 1e6,
            v["rounds_per_step"],
            v["step_rows"]
        ));
    }
    let here = number(&v["client_cpu_s"]);
    let home = number(&v["local"]["answer_s"]);
    if let (Some(here), Some(home)) = (here, home) {
        let advice = if home < 2.0 * here {
            "running this model on this machine alone is cheaper and more private"
        } else {
            "the network does most of the work"
        };
        all.push(format!(
            "cost here  {here:.2} s of CPU; the model's layers on this machine: about {home:.2} s. {advice}"
        ));
    }
    all
}
