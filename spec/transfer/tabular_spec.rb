# frozen_string_literal: true

require "rexml/document"

RSpec.describe "Tables in notebooks" do
  hostile = %(<script>alert("1")</script>&\e)

  # The texts of the cells, by row, of a result's HTML; it is well-formed.
  def cells(result)
    mime, html = result.to_iruby
    expect([mime, html]).to eq(["text/html", result.to_html])
    expect(html).not_to include("<script")
    document = REXML::Document.new("<div>#{html.delete("\e")}</div>")
    REXML::XPath.match(document, "//tr").map { |row| row.elements.map { |cell| cell.text.to_s } }
  end

  it "show predictions of each task, with hostile labels escaped" do
    label = hostile.delete("\e")
    scores = { hostile => 0.75, "b" => 0.25 }
    parse = Transfer::Prediction.method(:parse)
    expect(cells(parse.call({ "label" => hostile, "score" => 0.75, "scores" => scores,
                              "set" => [hostile, "b"] }))).to eq(
                                [["label", label], ["score", "0.75"], ["scores #{label}", "0.75"],
                                 ["scores b", "0.25"], ["set", "#{label}, b"]]
                              )
    expect(cells(parse.call({ "labels" => [hostile], "scores" => scores })).first).to eq(["labels", label])
    expect(cells(parse.call({ "value" => 1.23456,
                              "interval" => [1.0, 2.0] }))).to eq([%w[value 1.235], ["interval", "1, 2"]])
    expect(cells(parse.call({ "text" => hostile, "score" => 0.5 }))).to include(["text", label])
    box = { "label" => hostile, "score" => 0.5, "x" => 1.0, "y" => 2.0, "width" => 3.0, "height" => 4.0 }
    found = parse.call({ "boxes" => [box], "width" => 9, "height" => 8 })
    expect(cells(found)).to eq([%w[width 9], %w[height 8], %w[label score x y width height],
                                [label, "0.5", "1", "2", "3", "4"]])
  end

  it "show rankings, learning curves and audits" do
    entry = { "backbone" => hostile, "expected" => 0.5, "interval" => [0.25, 0.75], "log_loss" => 0.5, "scores" => {},
              "seconds_per_input" => nil, "parameters" => 1, "license" => "MIT", "paper" => "" }
    common = { "modality" => "image", "task" => "classification", "metric" => "accuracy", "examples" => 8 }
    ranking = Transfer::Ranking.new({ **common, "sampled" => 4, "backbones" => [entry],
                                                "left_out" => { "c" => hostile } })
    expect(cells(ranking).last.first(3)).to eq([hostile.delete("\e"), "0.5", "0.25, 0.75"])
    point = { "examples" => 5, "value" => 0.5, "low" => 0.25, "high" => 0.75 }
    curve = Transfer::LearningCurve.new({ **common, "measured" => [point], "forecast" => [point], "labels" => [] })
    expect(cells(curve).last(2)).to eq([%w[examples value low high], %w[5 0.5 0.25 0.75]])
    finding = { "kind" => "outlier", "detail" => hostile, "input" => "a.jpg", "label" => "b", "suggested" => nil,
                "score" => 0.5, "keep" => true, "other" => nil }
    report = Transfer::AuditReport.new({ **common, "labels" => { hostile => 2 }, "findings" => [finding] * 25 })
    expect(cells(report).size).to eq(4 + 1 + 20)
    expect(report.to_html).to include("findings: 20 of 25")
  end

  it "show metrics, which stay a Hash" do
    plain = { accuracy: 0.5, confusion_matrix: [[1, 0], [0, 1]], intervals: { accuracy: [0.25, 0.75] },
              per_class: [{ label: hostile, recall: 0.5 }] }
    metrics = Transfer::Metrics[plain]
    expect(metrics).to eq(plain).and be_a(Hash)
    expect(JSON.generate(metrics)).to eq(JSON.generate(plain))
    expect(cells(metrics)).to eq([%w[accuracy 0.5], ["intervals accuracy", "0.25, 0.75"], %w[label recall],
                                  [hostile.delete("\e"), "0.5"]])
  end
end
