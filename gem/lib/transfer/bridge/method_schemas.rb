# frozen_string_literal: true

require_relative "audit_schema"
require_relative "machine_schemas"
require_relative "metric_schemas"

module Transfer
  module Bridge
    # Schemas ({Schema}) of the values that a worker sends: results by method, events by name, errors. See
    # docs/reference/protocol.md for their meaning.
    module MethodSchemas
      range = MetricSchemas::RANGE
      place = %w[x y width height].to_h { |side| [side, :finite] }
      generated = { "text" => :text, "score" => :share, "candidates?" => [{ "text" => :text, "score" => :share }],
                    "placeholders?" => { "missing" => [:text], "extra" => [:text] } }
      # @param level [Boolean] true: with prediction sets or intervals
      predictions = lambda do |level|
        conformal = ->(key, schema) { level ? { key => schema } : {} }
        novelty = { "novelty?" => :share, "unknown?" => :flag }
        classes = { "label" => :text, "score" => :share, "scores" => { each: :share }, **novelty,
                    **conformal["set", [:text]] }
        labels = { "labels" => [:text], "scores" => { each: :share }, **novelty }
        [{ one_of: [
          { where: [classes, "a label with a score", ->(value) { value["scores"].key?(value["label"]) }] },
          { where: [labels, "labels with scores", ->(value) { (value["labels"] - value["scores"].keys).empty? }] },
          { "boxes" => [{ "label" => :text, "score" => :share, **place, **conformal["outer", place] }],
            "width" => :count, "height" => :count },
          { "value" => :finite, **novelty, **conformal["interval", range] },
          { "values" => { each: :finite }, **novelty, **conformal["intervals", { each: range }] },
          generated,
          { "error" => :text, "path?" => :text }
        ] }]
      end

      # One map per epoch: a loss may be infinite.
      history = [{ each: :plain }]
      data = { "parts" => [{ "name" => :text, "examples" => :count, "use" => :text }], "calibrated_by" => :text,
               **%w[examples fitted calibrated measured near_duplicates].to_h { |name| [name, :count] } }
      summary = {
        "path" => :text, "task" => :task, "labels" => [:text], "backbone" => :text, "embedding_width" => :count,
        "modality" => :modality, "columns" => [:text], "metrics" => { or_empty: MetricSchemas::ANY },
        "history" => history, "recipe" => { each: :plain }, "sizes" => { each: :count }, "data?" => { or_empty: data },
        "instance_weights?" => MetricSchemas::WEIGHTS, "warnings" => [:text], "seconds?" => { each: :finite },
        "created_at" => :text,
        "versions" => { each: :text }, "bytes" => :count
      }
      report = { "modality" => :modality, "task" => { maybe: :task }, "problems" => [:text], "warnings" => [:text],
                 "labels" => { each: :count }, "sizes" => { each: :count } }

      ranked = { "backbone" => :text, "expected" => :finite, "interval" => range, "log_loss" => :finite,
                 "scores" => { each: :finite }, "seconds_per_input" => { maybe: :finite },
                 "parameters" => { maybe: :count }, "license" => :text, "paper" => :text }
      ranking = { "modality" => :modality, "task" => :task, "metric" => :text, "sampled" => :count,
                  "examples" => :count, "backbones" => [ranked], "left_out" => { each: :text } }
      point = { "examples" => :count, "value" => :finite, "low" => :finite, "high" => :finite }
      points = { where: [[point], "a list that is not empty", :any?.to_proc] }
      curve = { "modality" => :modality, "metric" => :text, "measured" => points, "forecast" => points,
                "labels" => [{ "label" => :text, "examples" => :count, "recall" => :share, "more" => :count,
                               "gain" => :finite }] }
      share = { "step" => :text, "seconds" => :finite, "memory" => :count, "disk" => :count }
      estimate = { "backbone" => :text, "task" => :task, "examples" => :count, "steps" => [share],
                   "seconds" => :finite, "memory" => :count, "disk" => :count, "available_memory" => :count,
                   "free_disk" => :count, "warnings" => [:text] }
      shown = lambda do |value|
        case value
        when String then value.encoding == Encoding::UTF_8
        when Array then value.all?(&shown)
        when Hash then value.each_value.all?(&shown)
        when Float then value.finite?
        else true
        end
      end
      input = { where: [:plain, "a path, texts or cells", shown] }
      selection = { "method" => :text, "considered" => :count,
                    "inputs" => [{ "input" => input, "index" => :count, "score" => :finite }] }
      named = AuditSchema::NAME_OR_NUMBER
      compared = { "sizes" => [:count], "proxy_a_distance" => :finite, "mmd" => :finite, "p_value" => :finite,
                   "features" => [{ "feature" => named, "effect" => :finite }],
                   "classes" => { each: { "share" => [{ maybe: :finite }], "distance" => { maybe: :finite } } },
                   "confidence" => { maybe: { each: :finite } }, "typical" => { each: [:text] } }

      pair = %w[source target second].product([:text]) + %w[affinity second_affinity examples].product([:finite])
      RESULTS = {
        **MachineSchemas::RESULTS,
        "compare_domains" => compared, "map_labels" => { "pairs" => [pair.to_h], "labels" => [:text] },
        "check" => report, "audit" => AuditSchema::REPORT, "rank" => ranking, "learning_curve" => curve,
        "predict_all" => { "path" => :text, "rows" => :count, "failed" => :count, "reused" => :count },
        "select" => selection, "estimate" => estimate,
        **%w[train resume describe reload soup].to_h { |name| [name, summary] }, "evaluate" => MetricSchemas::ANY,
        **MetricSchemas::EXPLANATIONS,
        "predict" => predictions[false], "stream" => generated, "embed" => :embeddings,
        "save" => { "path" => :text, "bytes" => :count, "sha512" => :sha512 },
        **%w[draw report].to_h { |name| [name, { "path" => :text, "bytes" => :count }] },
        "export" => { "path" => :text, "bytes" => :count, "precision" => :text, "error" => :finite,
                      "metric" => { maybe: :text }, "before" => { maybe: :finite }, "after" => { maybe: :finite },
                      "examples" => :count, "loader" => { maybe: :text } }
      }.freeze
      PREDICTIONS_AT_LEVEL = predictions[true].freeze
      EVENTS = {
        "run" => { "id" => :text, "path" => :text, "history" => history },
        "stage" => { "step" => :text, "title" => :text }, "piece" => { "text" => :text },
        "progress" => { "step" => :text, "done" => :count, "total" => :count, "unit" => :text },
        "epoch" => { "step" => :text, "number" => :count, "of" => :count, "metrics" => { each: { maybe: :number } } },
        "overall" => { "share" => :share, "seconds_left" => { maybe: :finite } }, "warning" => { "message" => :text }
      }.freeze
      ERROR = {
        "type" => :text, "message" => :text, "python_class?" => :text, "python_backtrace?" => [:text],
        "details?" => { maybe: { "problems?" => [{ "path" => :text, "message" => :text }], "path?" => { maybe: :text },
                                 "run?" => { maybe: :text }, "limit?" => :count } }
      }.freeze
      # Parameters that the result repeats, by method: path in the result, the repeated value, the expected value.
      one_each = ->(params) { params.fetch("inputs").size }
      path_of = ->(word) { [".path", ->(result) { result["path"] }, ->(params) { params[word] }] }
      REPEATED = {
        "predict" => ["'s size", :size.to_proc, one_each],
        "embed" => ["'s number of rows", ->(result) { result.shape.first }, one_each],
        **%w[describe reload].to_h { |name| [name, path_of["model"]] },
        **%w[draw report save].to_h { |name| [name, path_of["path"]] }
      }.freeze
      private_constant :RESULTS, :PREDICTIONS_AT_LEVEL, :EVENTS, :ERROR, :REPEATED

      class << self
        # @param method [String] the called method
        # @param params [Hash] of the request
        # @return the result
        # @raise [ProtocolError] if it does not match the schema of that method
        def check_result(method, params, result)
          level = method == "predict" && params["level"]
          Schema.check(level ? PREDICTIONS_AT_LEVEL : RESULTS.fetch(method, :plain), result, "#{method}: the result")
          check_repeated(method, params, result) if REPEATED.key?(method)
          result
        end

        # @param event [Hash] of a call of `method`
        # @raise [ProtocolError]
        def check_event(method, event)
          kind = event["event"]
          Schema.check(EVENTS.fetch(kind, { "event" => :text }), event, "#{method}: the event #{Plain.brief(kind)}")
        end

        # @param error [Hash] of a call of `method`
        # @raise [ProtocolError]
        def check_error(method, error) = Schema.check(ERROR, error, "#{method}: the error")

        private

        def check_repeated(method, params, result)
          path, repeated, original = REPEATED[method]
          found = repeated.call(result)
          expected = original.call(params)
          return if found == expected

          raise ProtocolError, "#{method}: the result#{path} is #{Plain.brief(found)}, " \
                               "expected #{Plain.brief(expected)} as in the request"
        end
      end
    end
  end
end
