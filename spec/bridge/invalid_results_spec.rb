# frozen_string_literal: true

require "logger"
require_relative "../support/corruption"

# Workers with valid frames and invalid results.
RSpec.describe "An invalid result" do
  around do |example|
    Dir.mktmpdir do |folder|
      @file = File.join(folder, "said")
      Transfer.config.home = folder
      example.run
    ensure
      Transfer.config.home = nil
    end
  end

  # @param content [Hash{Symbol => Object}] see scripted.py
  def reply_with(**content)
    bytes = content.to_h do |kind, value|
      many = %i[events results].include?(kind)
      [kind.to_s, many ? value.map { |each| Corruption.bytes(each) } : Corruption.bytes(value)]
    end
    File.binwrite(@file, MessagePack.pack(bytes))
  end

  # `accepted`, or the error of a call of the public API.
  def outcome
    yield
    "accepted"
  rescue Transfer::ProtocolError => error
    error.message
  end

  share = { "red" => 0.75, "blue" => 0.25 }
  novelty = { "novelty" => 0.5, "unknown" => false }
  classes = { "label" => "red", "score" => 0.75, "scores" => share, **novelty }
  labels = { "labels" => %w[red], "scores" => share }
  around = { "interval" => [0.5, 0.75] }
  metrics = {
    "accuracy" => 0.5, "baseline" => { "label" => "red", "accuracy" => 0.5 }, "examples" => 2, "macro_f1" => 0.5,
    "balanced_accuracy" => 0.5, "most_confused" => [{ "truth" => "red", "predicted" => "blue", "count" => 1 }],
    "groups" => { "metric" => "accuracy", "missing" => 0, "worst" => "b", "best" => "a", "gap" => 0.5,
                  "gap_interval" => [0.0, 1.0], "p_value" => 0.5,
                  "per_group" => %w[a b].map do |name|
                    { "group" => name, "value" => 0.5, "interval" => [0.0, 1.0], "examples" => 1 }
                  end,
                  "worst_cells" => [{ "group" => "b", "label" => "red", "value" => 0.5, "examples" => 1 }] },
    "intervals" => { "accuracy" => [0, 1] }, "tfidf_accuracy" => 0.5, "tfidf_macro_f1" => 0.5,
    "per_class" => [{ "label" => "red", "precision" => 0.5, "recall" => 0.5, "f1" => 0.5, "support" => 1 }],
    "conformal" => { "level" => 0.9, "coverage" => 0.9, "mean_size" => 1.5, **around },
    "novelty" => { "flagged" => 0.05, "auroc" => 0.9 },
    "kept" => { "metric" => "accuracy", "examples" => 2, "before" => 0.5, "after" => 0.5 }
  }
  of_labels = {
    "mean_average_precision" => 0.5, "baseline" => { "mean_average_precision" => 0.5 }, "micro_f1" => 0.5,
    "macro_f1" => 0.5, "exact_match" => 0.5, "examples" => 2, "intervals" => { "mean_average_precision" => [0, 1] },
    "per_label" => [{ "label" => "red", "average_precision" => 0.5, "precision" => 0.5, "recall" => 0.5, "f1" => 0.5,
                      "threshold" => 0.5, "support" => 1 }]
  }
  sides = { "x" => 1, "y" => 2.5, "width" => 3, "height" => 4 }
  box = { "label" => "red", "score" => 0.75, **sides }
  boxes = { "boxes" => [box], "width" => 30, "height" => 20 }
  of_boxes = {
    "average_precision" => 0.5, "average_precision_50" => 0.75, "average_precision_75" => 0.25,
    "average_precision_small" => nil, "average_precision_medium" => 0.5, "average_precision_large" => 0.5,
    "precision" => 0.5, "recall" => 0.5, "f1" => 0.5, "boxes" => 3, "baseline" => { "average_precision" => 0.1 },
    "per_class" => [{ "label" => "red", "average_precision" => 0.5, "average_precision_50" => nil, "precision" => 0.5,
                      "recall" => 0.5, "f1" => 0.5, "threshold" => 0.5, "support" => 3 }],
    "worst" => [{ "image" => "a.jpg", "missed" => 1, "wrong" => 2 }], "examples" => 2,
    "intervals" => { "average_precision" => [0, 1] },
    "conformal" => { "level" => 0.9, "coverage" => 0.9, "margin" => 0.25, **around }
  }
  of_values = { "mae" => 0.5, "baseline" => { "mae" => 0.5 }, "r2" => 0.5, "rmse" => 0.5, "examples" => 2 }
  summary = {
    "path" => "/m.transfer", "task" => "classification", "labels" => %w[red blue], "backbone" => "b",
    "embedding_width" => 2, "modality" => "image", "columns" => %w[a], "metrics" => metrics,
    "history" => [{ "step" => "train", "epoch" => 1, "loss" => 0.5 }], "recipe" => { "backbone" => "b" },
    "sizes" => { "train" => 2 },
    "instance_weights" => { "method" => "kmm", "examples" => 2, "effective" => 1.5,
                            "most" => [{ "input" => "a.jpg", "weight" => 1.5 }],
                            "least" => [{ "input" => "b.jpg", "weight" => 0.5 }] },
    "warnings" => ["few"], "seconds" => { "train" => 1.5 }, "created_at" => "2026-03-14T15:09:26Z",
    "versions" => { "torch" => "2" }, "bytes" => 10
  }
  weights = { "name" => "V1", "license" => "MIT", "top1" => 71.9, "hub" => "", "file" => "v1.pth", "trained_on" => "x",
              "terms" => "", "preprocessing" => { "crop_size" => 224 } }
  facts = { "name" => "b", "parameters" => 10, "source" => "timm", "family" => "B", "modality" => "image",
            "paper" => "P", "arxiv" => "1", "code_url" => "u", "embedding_width" => 2, "license" => "MIT" }
  run = { "id" => "r", "path" => "/r", "report" => "/r/report.html", "status" => "interrupted",
          "saved" => false, "bytes" => 10, "used_at" => 1.5,
          "created_at" => "2026-03-14T15:09:26Z", "recipe" => { "a" => 1 }, "backbone" => "b", "data" => "/p",
          "step" => "train", "epoch" => 1, "epochs" => 2 }
  freed = { "freed" => 1, "left" => 2 }
  model = Transfer::Model.new(summary)
  ranked = { "backbone" => "b", "expected" => 0.5, "interval" => [0.25, 0.75], "log_loss" => 0.5,
             "scores" => { "log_me" => 0.5 }, "seconds_per_input" => 0.5, "parameters" => 1, "license" => "MIT",
             "paper" => "p" }
  ranking = { "modality" => "image", "task" => "classification", "metric" => "accuracy", "sampled" => 4,
              "examples" => 8, "backbones" => [ranked], "left_out" => { "c" => "r" } }
  point = { "examples" => 1, "value" => 0.5, "low" => 0.25, "high" => 0.75 }
  report = Transfer::CLI.const_get(:Report)
  catalogue = Transfer::CLI.const_get(:Catalogue)
  command = lambda do |*words|
    lambda do |spec|
      _, complaint, status = spec.transfer(*words)
      raise Transfer::ProtocolError, complaint[/\Atransfer: (.*)/, 1] if complaint.include?("result")
      raise complaint unless complaint.empty? && [0, 4].include?(status)
    end
  end

  # By method: a valid result, and code that uses all of it.
  valid_results = {
    "describe" => [summary, lambda { |_|
      told = Transfer.load("/m.transfer")
      [told.inspect, told.labels.join, report.facts("/m.transfer", told.summary), report.held_out(told.summary)]
    }],
    "reload" => [summary, ->(_) { model.reload.inspect }],
    "predict" => [[classes, classes], lambda { |_|
      model.predict(%w[a b]).map { |told| [told.to_s, told.inspect, told.to_h, told.top(1)] }
    }],
    "predict of labels" => [[labels, labels], ->(_) { model.predict(%w[a b]).map { |told| told.to_s + told.inspect } }],
    "predict a value" => [[{ "value" => 0.5 }], ->(_) { model.predict("a").then { |told| told.to_s + told.inspect } }],
    "predict an interval" => [[{ "value" => 0.5, **around }], ->(_) { model.predict("a", level: 0.9).interval.sum }],
    "predict intervals" => [[{ "values" => { "a" => 0.5 }, "intervals" => { "a" => [0, 1] } }],
                            ->(_) { model.predict("a", level: 0.9).intervals.each_value.map(&:sum) }],
    "predict a set" => [[{ **classes, "set" => ["red"] }], ->(_) { model.predict("a", level: 0.9).set.join }],
    "predict boxes" => [[boxes], lambda { |_|
      model.predict("a").then { |told| [told.to_s, told.inspect, told.to_json, told.labels, told.boxes.sum(&:x)] }
    }],
    "predict outer boxes" => [[{ **boxes, "boxes" => [{ **box, "outer" => sides }] }],
                              ->(_) { model.predict("a", level: 0.9).boxes.sum { |found| found.outer[:width] } }],
    "stream" => [{ "text" => "a", "score" => 0.5, "placeholders" => { "missing" => ["%s"], "extra" => [] } },
                 lambda { |_|
                   told = model.stream("a %s") { |piece| piece }
                   [told.to_s, told.inspect, told.missing_placeholders.join, told.extra_placeholders.join]
                 }],
    "draw" => [{ "path" => "/x.png", "bytes" => 10 }, lambda { |_|
      Transfer::Prediction.parse(boxes, "/a.jpg").draw("/x.png").to_s
    }],
    "embed" => [Transfer::Tensor.from([[1, 2], [3, 4]]), ->(_) { model.embed(%w[a b]).map(&:sum) }],
    "evaluate" => [metrics, lambda { |_|
      found = model.evaluate("x")
      [report.metrics(found, "photos"), report.coverage(found), report.per_class(found, "photos")]
    }],
    "evaluate labels" => [of_labels, lambda { |_|
      found = model.evaluate("x")
      [report.metrics(found, "photos"), report.per_class(found, "photos")]
    }],
    "evaluate boxes" => [of_boxes, lambda { |_|
      found = model.evaluate("x")
      [report.metrics(found, "photos"), report.coverage(found), report.per_class(found, "photos")]
    }],
    "evaluate values" => [of_values, ->(_) { report.metrics(model.evaluate("x"), "photos") }],
    "check" => [{ "modality" => "image", "task" => nil, "problems" => ["p"], "warnings" => ["w"],
                  "labels" => { "a" => 1 }, "sizes" => { "train" => 1 } },
                ->(_) { Transfer.check(data: "x", quiet: true).then { |told| told.inspect + told.to_json } }],
    "audit" => [{ "modality" => "image", "task" => "classification", "examples" => 3, "labels" => { "a" => 1 },
                  "findings" => [{ "kind" => "outlier", "detail" => "d", "input" => "a.png", "label" => "a",
                                   "suggested" => "b", "score" => 0.5, "keep" => true, "other" => "b.png" },
                                 { "kind" => "imbalance", "detail" => "d", "input" => nil, "label" => nil,
                                   "suggested" => nil, "score" => nil, "keep" => true, "other" => nil }] },
                lambda { |_|
                  found = Transfer.audit(data: "x", quiet: true)
                  [found.to_s, found.inspect, found.to_json]
                }],
    "rank" => [ranking, lambda { |_|
      found = Transfer.rank(data: "x", quiet: true)
      [found.inspect, found.map(&:inspect), found.to_json]
    }],
    "learning_curve" => [
      { "modality" => "image", "metric" => "accuracy", "measured" => [point], "forecast" => [point],
        "labels" => [{ "label" => "a", "examples" => 3, "recall" => 0.5, "more" => 9, "gain" => 0.25 }] },
      lambda { |_|
        found = Transfer.learning_curve(data: "x", quiet: true)
        [found.to_s, found.inspect, found.to_json]
      }
    ],
    "estimate" => [{ "backbone" => "b", "task" => "classification", "examples" => 5, "seconds" => 1.5, "memory" => 9,
                     "steps" => [{ "step" => "train", "seconds" => 1.5, "memory" => 9, "disk" => 0 }], "disk" => 0,
                     "available_memory" => 10, "free_disk" => 10, "warnings" => ["w"] },
                   lambda { |_|
                     found = Transfer.estimate(data: "x", backbone: "b", quiet: true)
                     [found.to_s, found.inspect, found.to_json]
                   }],
    "predict_all" => [{ "path" => "/a.csv", "rows" => 3, "failed" => 1, "reused" => 2 },
                      ->(_) { model.predict_all("x", into: "a.csv").then { |found| found.inspect + found.to_json } }],
    "select" => [{ "method" => "margin", "considered" => 2,
                   "inputs" => [{ "input" => "a", "index" => 1, "score" => 0.5 }] },
                 ->(_) { model.select("x").then { |found| found.inspect + found.to_json } }],
    "explain" => [{ "label" => "a", "against" => nil, "method" => "linear", "score" => 0.5, "base" => 0.25,
                    "tokens" => [{ "text" => "w", "score" => 0.5 }], "columns" => { "x" => 0.25 }, "html" => "<p>",
                    "boxes" => [{ "label" => "a", "against" => nil, "method" => "hirescam", "score" => 0.5,
                                  "base" => nil,
                                  "box" => { "x" => 0.5, "y" => 0.5, "width" => 0.5, "height" => 0.5 } }] },
                  lambda { |_|
                    found = model.explain("x")
                    [found.inspect, found.to_json, found.top, found.to_iruby]
                  }],
    "features" => [{ "block" => "b", "channels" => [1], "maps" => Transfer::Tensor.from([[[0.5]]]),
                     "overlay" => "png".b, "html" => "<p>" },
                   ->(_) { model.features("x").then { |found| found.inspect + found.to_json } }],
    "similar" => [[{ "distance" => 0.5, "label" => ["a"], "name" => "n", "text" => "t", "thumbnail" => "jpeg".b }],
                  ->(_) { model.similar("x").map { |found| found.inspect + found.to_json } }],
    "influential" => [[{ "influence" => 0.5, "label" => ["a"], "name" => "n", "text" => "t", "thumbnail" => "jpeg".b }],
                      ->(_) { model.influential("x").map { |found| found.inspect + found.to_json } }],
    "attention" => [{ "heads" => Transfer::Tensor.from([[[[1.0]]]]), "rolled_out" => Transfer::Tensor.from([[1.0]]),
                      "tokens" => ["w"], "overlay" => "png".b, "html" => "<p>" },
                    ->(_) { model.attention("x").then { |found| found.inspect + found.to_json } }],
    "faithfulness" => [{ "method" => "hirescam", "inputs" => 1, "deletion" => 0.1, "random_deletion" => 0.2,
                         "insertion" => 0.5, "random_insertion" => 0.3, "randomized" => 0.1,
                         "better_than_random" => true },
                       ->(_) { model.faithfulness(["x"]) }],
    "compare_domains" => [{ "sizes" => [2, 3], "proxy_a_distance" => 0.5, "mmd" => 0.5, "p_value" => 0.5,
                            "features" => [{ "feature" => "x", "effect" => 0.5 }],
                            "classes" => { "red" => { "share" => [0.5, nil], "distance" => 0.5 } },
                            "confidence" => { "first" => 0.5 }, "typical" => { "first" => ["a"], "second" => ["b"] } },
                          lambda { |_|
                            found = Transfer.compare_domains("x", "y", quiet: true)
                            [found.inspect, found.to_json]
                          }],
    "map_labels" => [{ "pairs" => [{ "source" => "a", "target" => "b", "affinity" => 0.5, "second" => "c",
                                     "second_affinity" => 0.25, "examples" => 3 }], "labels" => %w[b c] },
                     lambda { |_|
                       found = Transfer.map_labels("x", "y", quiet: true)
                       [found.to_s, found.inspect, found.to_json, found.names]
                     }],
    "soup" => [summary, ->(_) { Transfer.soup(%w[/a /b], data: "x", quiet: true).labels.join }],
    "export" => [{ "path" => "/x.onnx", "bytes" => 10, "precision" => "float32", "error" => 0.5, "metric" => nil,
                   "before" => nil, "after" => nil, "examples" => 0, "loader" => nil },
                 ->(_) { model.export("/x.onnx").to_json }],
    "report" => [{ "path" => "/x.html", "bytes" => 10 }, ->(_) { model.report("/x.html").to_s }],
    "save" => [{ "path" => "/x", "bytes" => 10, "sha512" => "0f" * 64 }, ->(_) { model.save("/x").to_s }],
    "runs" => [[run], ->(_) { Transfer.runs.map { |told| [told.inspect, told.recipe.to_a, told.created_at&.year] } }],
    "prune_runs" => [[run], ->(_) { Transfer::Run.prune.map(&:inspect) }],
    "remove_run" => [run, ->(_) { Transfer::Run.new(run).remove }],
    "backbones" => [[{ **facts, "metric" => "m", "metric_value" => 1.5, "relevance" => 0.5,
                                "images_per_second" => 9.5 }],
                    ->(_) { catalogue.table(Transfer.backbones, 5) + Transfer.backbones.map(&:inspect) }],
    "backbone" => [{ **facts, "blocks" => ["0"], "weights" => [weights], "default" => "V1", "code_license" => "MIT",
                              "max_length" => nil }, lambda { |_|
                                                       Transfer.backbone("b").then do |told|
                                                         [catalogue.page(told, nil), told.inspect, told.license]
                                                       end
                                                     }],
    "doctor" => [[{ "name" => "n", "ok" => false, "detail" => "d", "remedy" => "r" }], lambda { |spec|
      spec.bridge.call("doctor")
      command.call("doctor").call(spec)
    }],
    "cache_stats" => [{ "path" => "/c", "limit" => 10, "bytes" => 5, "runs" => 1,
                        "parts" => [{ "name" => "f", "what" => "w", "files" => 1, "bytes" => 5, "rows" => 2,
                                      "used_at" => 1.5 }] }, command.call("cache", "stats")],
    "cache_verify" => [{ "rows" => 1, "damaged" => 0, "files" => ["f"] }, command.call("cache", "verify")],
    "cache_prune" => [freed, command.call("cache", "prune")], "cache_clear" => [freed, command.call("cache", "clear")]
  }

  it "is detected for every method and event, as all have schemas" do
    protocol = File.read(File.expand_path("../../docs/reference/protocol.md", __dir__))
    methods = protocol[/^## Requests to the worker.*?^Parameters/m].scan(/^\| `(\w+)` \|/).flatten
    schemas = bridge::MethodSchemas
    expect(schemas.send(:const_get, :RESULTS).keys).to match_array([*methods, "hello"])
    kinds = Transfer::Event.send(:const_get, :KINDS).keys.map(&:to_s)
    expect(schemas.send(:const_get, :EVENTS).keys).to match_array([*kinds, "piece"])
    expect(valid_results.keys.map { |name| name[/\w+/] }.uniq)
      .to match_array(schemas.send(:const_get, :RESULTS).keys - %w[hello ping serving train resume])
  end

  valid_results.each do |what, (valid, use)|
    it "of #{what} is a ProtocolError, or harmless" do
      backend("scripted", @file)
      reply_with(result: valid)
      expect(outcome { use.call(self) }).to eq("accepted")
      corruptions = Corruption.of(valid)
      found = corruptions.map { |corruption| reply_with(result: corruption) && outcome { use.call(self) } }
      errors = found - ["accepted"]
      expect(errors).to all(match(/\A\w+: the result/))
      expect(errors.size).to be > corruptions.size / 3
    end
  end

  it "is reported with its path and the expected value" do
    backend("scripted", @file)
    {
      [] => "the result's size is 0, expected 2 as in the request",
      [classes] * 5 => "the result's size is 5, expected 2 as in the request",
      [classes, { **classes, "scores" => { "red" => Float::NAN } }] =>
        "the result[1].scores.red is NaN, expected a number from 0 to 1",
      [classes, { **classes, "score" => 1.5 }] => "the result[1].score is 1.5, expected a number from 0 to 1",
      [classes,
       { **classes, "label" => "green" }] => /\Apredict: the result\[1\] is .*, expected a label with a score\z/,
      [{ 5 => 1 }] => "the result[0] is {5=>1}, expected a map with label, score, scores; or with labels, scores; " \
                      "or with boxes, width, height; or with value; or with values; or with text, score; " \
                      "or with error",
      [{ **classes, 5 => 1 }] => "the result[0].5 is 5, expected a key that is text",
      [{ **classes, "note" => "\xFF" }] => 'the result[0].note is "\xFF", expected valid UTF-8',
      "all of them" => 'the result is "all of them", expected a list'
    }.each do |corruption, message|
      reply_with(result: corruption)
      message = "predict: #{message}" if message.is_a?(String)
      expect { model.predict(%w[a b]) }.to raise_error(Transfer::ProtocolError, message)
    end
    reply_with(result: [{ "value" => 0.5 }])
    expect { model.predict("a", level: 0.9) }
      .to raise_error(Transfer::ProtocolError, /expected a map with label, score, scores, set; or with labels, scores/)
  end

  it "of embed has another number of rows" do
    backend("scripted", @file)
    { [[1.0]] => "'s number of rows is 1, expected 2 as in the request",
      1.0 => " is #<Transfer::Tensor float32 >, expected a float32" }
      .each do |numbers, words|
        reply_with(result: Transfer::Tensor.from(numbers))
        expect { model.embed(%w[a b], as: :tensor) }.to raise_error(Transfer::ProtocolError, /the result#{words}/)
      end
  end

  it "of embed has another width than the batch before" do
    backend("scripted", @file)
    reply_with(results: [[[0.5, 1]] * 256, [[0.5]] * 44].map { |rows| Transfer::Tensor.from(rows) })
    expect { model.embed(Array.new(300) { |i| "/#{i}" }) }
      .to raise_error(Transfer::ProtocolError, /\Aembed: embeddings of 2 and 1 numbers in one call/)
  end

  it "does not affect other calls" do
    worker = backend("scripted", @file).serve
    reply_with(result: 5)
    first = outcome { model.predict("a") } && worker.pid
    outcome { model.embed("a") }
    expect([worker.pid, worker.stats[:crashes]]).to eq([first, 0])
  end

  it "of the handshake is refused, and the next call starts another worker" do
    corruptions = [nil, [], {}, { "protocol" => "1" }, { "protocol" => 1, "capabilities" => "all" },
                   { "protocol" => 1, "core_version" => "\xFF" }]
    corruptions.each do |corruption|
      backend = backend("scripted", @file)
      reply_with(hello: corruption, result: "pong")
      expect { bridge.call("anything") }.to raise_error(Transfer::ProtocolError, /\Ahello: the result/)
      reply_with(result: "pong")
      expect(bridge.call("anything")).to eq("pong")
      backend.stop
    end
  end

  it "in an event ends the training with a ProtocolError" do
    backend("scripted", @file)
    events = [
      { "event" => "run", "id" => "r1", "path" => "/r1", "history" => [] },
      { "event" => "stage", "step" => "train", "title" => "t" },
      { "event" => "progress", "step" => "train", "done" => 1, "total" => 2, "unit" => "u" },
      { "event" => "epoch", "step" => "train", "number" => 1, "of" => 2, "metrics" => { "loss" => 0.5 } },
      { "event" => "overall", "share" => 0.5, "seconds_left" => 1.5 },
      { "event" => "warning", "message" => "w" }
    ]
    train = -> { Transfer.train(backbone: "b", data: "p") { on(:epoch) { |event| event.metrics.to_a } } }
    reply_with(events:, result: summary)
    expect(outcome(&train)).to eq("accepted")
    corruptions = events.flat_map { |event| Corruption.of(event).grep(Hash) }
    found = corruptions.map { |corruption| reply_with(events: [corruption], result: summary) && outcome(&train) }
    errors = found - ["accepted"]
    expect(errors).to all(start_with("train: the event"))
    expect(errors.size).to be > corruptions.size / 3
  end

  it "in an error is a ProtocolError" do
    backend("scripted", @file)
    valid = { "type" => "RemoteError", "message" => "m", "python_class" => "ValueError", "python_backtrace" => ["a:1"],
              "details" => { "problems" => [{ "path" => "seed", "message" => "m" }], "path" => "a.jpg", "run" => "r" } }
    errors = %w[RemoteError RecipeError DataError].flat_map do |type|
      Corruption.of({ **valid, "type" => type }).grep(Hash).filter_map do |corruption|
        # Others are refused as messages.
        next unless corruption.values_at("type", "message", "details") in [String, String, Hash | nil]

        reply_with(error: corruption)
        error_of { bridge.call("anything") }
      end
    end
    expect(errors.grep(Transfer::ProtocolError).map(&:message)).to all(start_with("anything: the error"))
    expect(errors.grep(Transfer::ProtocolError).size).to be > errors.size / 3
  end

  it "has its terminal escapes removed" do
    escapes = "\e]0;title\a\e[31mred\e[0m\r\b\u009b2J\0 end\nnext"
    backend("scripted", @file)
    reply_with(error: { "type" => "DataError", "message" => escapes })
    expect { bridge.call("anything") }.to raise_error(Transfer::DataError, "red2J end\nnext")
    received = []
    reply_with(events: [{ "event" => "warning", "message" => escapes }], result: summary)
    Transfer.train(backbone: "b", data: "p") { on(:warning) { |event| received << event.message } }
    expect(received).to eq(["red2J end\nnext"])
  end

  it "has the terminal escapes of its output removed in errors and logs" do
    log = StringIO.new
    worker = worker(logger: Logger.new(log))
    expect { worker.call("die_saying", { "words" => "\e[2J\e]0;title\a\e[31mgoing down\r\e[0m" }).value(20) }
      .to raise_error(Transfer::WorkerCrashed, /ended by SIGABRT: going down\z/) { |error|
        expect(error.stderr).to include("\e[31m")
      }
    expect(eventually { log.string.include?("going down") }).to be(true)
    expect(log.string).not_to match(/[\e\a\r]/)
  end
end
