# frozen_string_literal: true

module Transfer
  module Bridge
    # Schemas ({Schema}) of the metrics of each task (docs/reference/metrics.md), and of explanations.
    module MetricSchemas
      RANGE = { where: [[:finite], "two numbers", ->(value) { value.size == 2 }] }.freeze

      groups = { "metric" => :text, "missing" => :count,
                 "per_group" => [{ "group" => :text, "value" => :finite, "interval" => RANGE, "examples" => :count }],
                 "worst?" => :text, "best?" => :text, "gap?" => :finite, "gap_interval?" => RANGE, "p_value?" => :share,
                 "worst_cells?" => [{ "group" => :text, "label" => :text, "value" => :finite, "examples" => :count }] }
      weighted = [{ "input" => :text, "weight" => :finite }]
      # Weights of source examples.
      WEIGHTS = { or_empty: { "method" => :text, "examples" => :count, "effective" => :finite, "most" => weighted,
                              "least" => weighted } }.freeze
      binary = ->(value) { value.is_a?(String) && value.encoding == Encoding::BINARY }
      place = %w[x y width height].to_h { |side| [side, :finite] }
      explanation = {
        "label" => { maybe: :text }, "against" => { maybe: :text }, "method" => :text, "score" => { maybe: :finite },
        "base" => { maybe: :finite }, "heatmap?" => :embeddings, "overlay?" => { where: [:plain, "bytes", binary] },
        "tokens?" => [{ "text" => :text, "score" => :finite }], "columns?" => { each: :finite }, "box?" => place,
        "alignment?" => { "source" => [:text], "target" => [:text], "weights" => :embeddings }
      }
      boxes = [{ **explanation, "label" => :text, "score" => :finite, "box" => place }]
      tensor = { where: [:plain, "a float32 tensor", ->(value) { value.is_a?(Tensor) && value.dtype == "float32" }] }
      picture = { "overlay" => { where: [:plain, "bytes", binary] }, "html" => :text }
      features = { "block" => :text, "channels" => [:count], "maps" => tensor, **picture }
      attention = { "heads" => tensor, "rolled_out" => :embeddings, "tokens" => { maybe: [:text] }, **picture }
      bytes = { maybe: { where: [:plain, "bytes", binary] } }
      real = ->(value) { value.is_a?(Numeric) && value.finite? }
      truth = lambda do |value|
        texts = value.is_a?(Hash) ? value.keys : [*value]
        next true if real[value]

        texts.all? { |text| text.is_a?(String) && text.encoding == Encoding::UTF_8 && text.valid_encoding? } &&
          (!value.is_a?(Hash) || value.values.all?(&real))
      end
      truth = { where: [:plain, "a label, labels, a number or numbers by name", truth] }
      example = { "label" => truth, "name" => { maybe: :text }, "text" => { maybe: :text }, "thumbnail" => bytes }
      measures = %w[deletion random_deletion insertion random_insertion].to_h { |name| [name, :share] }
      faithfulness = { "method" => :text, "inputs" => :count, **measures, "randomized" => { maybe: :finite },
                       "better_than_random" => :flag }
      EXPLANATIONS = { "explain" => { **explanation, "html" => :text, "boxes?" => boxes }, "features" => features,
                       "attention" => attention, "similar" => [{ "distance" => :finite, **example }],
                       "influential" => [{ "influence" => :finite, **example }],
                       "faithfulness" => faithfulness }.freeze

      compared = lambda do |value|
        found = value.values_at("worst", "best", "gap", "gap_interval", "p_value")
        named = found.first(2) - value["per_group"].map { |one| one["group"] }
        found.none? || (found.all? && named.empty?)
      end
      groups = { where: [groups, "a whole comparison of groups or none", compared] }
      measured = { "groups?" => groups, "examples" => :count, "intervals?" => { each: RANGE },
                   "conformal?" => { "level" => :finite, "coverage" => :finite, "interval" => RANGE,
                                     "mean_size?" => :finite, "margin?" => :finite },
                   "kept?" => { "metric" => :text, "examples" => :count, "before" => :finite, "after" => :finite },
                   "novelty?" => { "flagged" => :share, "auroc?" => :share } }
      per = ->(*names) { [{ "label" => :text, "support" => :count, **names.to_h { |name| [name, :finite] } }] }
      classification = { "accuracy" => :finite, "baseline" => { "label" => :text, "accuracy" => :finite },
                         "most_confused" => [{ "truth" => :text, "predicted" => :text, "count" => :count }],
                         "balanced_accuracy" => :finite, "macro_f1" => :finite, "confusion_matrix?" => [[:count]],
                         "tfidf_accuracy?" => :finite, "tfidf_macro_f1?" => :finite,
                         "per_class?" => per["precision", "recall", "f1"], **measured }
      average = { maybe: :finite }
      per_box = [{ "label" => :text, "average_precision" => average, "average_precision_50" => average,
                   "precision" => :finite, "recall" => :finite, "f1" => :finite, "threshold" => :finite,
                   "support" => :count }]
      tfidf = ->(value) { value.key?("tfidf_accuracy") == value.key?("tfidf_macro_f1") }
      worst = { "source" => :text, "target" => :text, "prediction" => :text, "chrf2" => :finite }
      overlap = ->(*names) { names.to_h { |name| [name, :finite] } }
      generated = lambda do |found|
        { **found, "baseline" => found, "untuned?" => found, "exact_match" => :finite,
                   "placeholders?" => { "examples" => :count, "kept" => :finite, "untuned?" => :finite } }
      end
      ANY = { one_of: [
        { where: [classification, "both metrics of TF-IDF or none", tfidf] },
        { "mean_average_precision" => :finite, "baseline" => { "mean_average_precision" => :finite },
          "micro_f1" => :finite, "macro_f1" => :finite, "exact_match" => :finite,
          "per_label?" => per["average_precision", "precision", "recall", "f1", "threshold"], **measured },
        { "average_precision" => average, "average_precision_50" => average, "average_precision_75" => average,
          **%w[small medium large].to_h { |size| ["average_precision_#{size}", average] },
          "precision" => :finite, "recall" => :finite, "f1" => :finite, "boxes" => :count,
          "baseline" => { "average_precision" => average }, "per_class" => per_box,
          "worst" => [{ "image" => :text, "missed" => :count, "wrong" => :count }], **measured },
        { **generated[overlap["chrf2", "bleu"]], "signatures" => { each: :text }, "worst" => [worst], **measured },
        { **generated[overlap["rouge_l", "rouge1", "rouge2"]], "chrf2" => :finite, "worst" => [worst], **measured },
        { "mae" => :finite, "baseline" => { "mae" => :finite }, "r2" => :finite, "rmse" => :finite, **measured }
      ] }.freeze
    end
    private_constant :MetricSchemas
  end
end
