//! Agents that try to live off the ledger: whether honesty pays most where the formulas say so.

use anyhow::Result;
use serde_json::Value;

use crate::live;

/// Runs `econ`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    crate::cargo(&["build", "--release", "--locked", "-p", "nesa-drill"])?;
    let mut command = std::process::Command::new(live::binary("nesa-drill"));
    command.arg("econ");
    if options.contains(&"--quick") {
        command.arg("--quick");
    }
    let told = live::json_of(command, "nesa-drill econ")?;
    let ok = told["ok"] == true;
    if options.contains(&"--json") {
        return live::report(true, "agents against the ledger", ok, &told);
    }
    let mut short = told.clone();
    let points = told["cheating"].as_array().into_iter().flatten();
    let line = |p: &Value| -> Value {
        let part = |name: &str| p[name].as_f64().map_or(f64::NAN, live::round);
        format!(
            "p {} d {} colluding {} auditors {} gain {} outside {}: {} fees predicted, {} measured",
            part("p"),
            part("d"),
            part("colluding"),
            p["auditors"],
            part("gain"),
            part("outside"),
            part("slash_predicted_in_fees"),
            part("slash_measured_in_fees")
        )
        .into()
    };
    for (i, point) in points.map(line).enumerate() {
        short[format!("point_{:02}", i + 1)] = point;
    }
    if let Some(all) = short.as_object_mut() {
        all.remove("cheating");
    }
    live::report(false, "agents against the ledger", ok, &short)
}
