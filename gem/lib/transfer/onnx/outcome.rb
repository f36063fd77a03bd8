# frozen_string_literal: true

module Transfer
  module Onnx
    # Predictions from the outputs of a graph, as the worker computes them (`tasks/` of the core).
    module Outcome
      # Outputs of each task's graph.
      OUTPUTS = { "classification" => %w[probabilities], "multi_label" => %w[probabilities positive],
                  "regression" => %w[values], "detection" => %w[corners classes scores],
                  "translation" => %w[tokens score], "text_to_text" => %w[tokens score] }.freeze
      # Tasks without prediction sets and intervals.
      UNCALIBRATED = %w[multi_label translation text_to_text].freeze
      private_constant :UNCALIBRATED
      # Outputs of a model with a novelty detector.
      NOVELTY = %w[novelty unknown].freeze

      class << self
        # @param description [Description]
        # @param outputs [Hash{String => Array<Numeric>}] of one input
        # @param level [Float, nil] one that {check_level} accepted
        # @param size [Array(Integer, Integer), nil] width and height of an image, for boxes
        # @return [Hash{String => Object}] a plain prediction (docs/reference/protocol.md)
        def of(description, outputs, level, size)
          found = case description.task
                  when "classification" then classification(description, outputs["probabilities"], level)
                  when "multi_label"
                    multi_label(description.labels, *outputs.values_at("probabilities", "positive"))
                  when "detection" then Boxes.of(description, outputs, size, level && margin(description, level))
                  else regression(description, outputs["values"], level)
                  end
          return found unless outputs.key?("novelty")

          { **found, "novelty" => outputs["novelty"].first, "unknown" => outputs["unknown"].first == 1 }
        end

        # @param description [Description]
        # @param level [Float, nil]
        # @raise [RecipeError] if there are no prediction sets or intervals at this coverage
        def check_level(description, level)
          message = level && level_problem(description, level)
          raise RecipeError, [RecipeError::Problem.new(path: "level", message:)] if message
        end

        private

        def level_problem(description, level)
          return "expected a number above 0 and below 1 (got #{level})" unless level.positive? && level < 1

          task = description.task
          return "prediction sets are not available for #{task} models" if UNCALIBRATED.include?(task)

          needed = [1, (level / (1 - level)).round(9).ceil].max
          held_out = description.scores.first&.size.to_i
          return if held_out >= needed

          "#{format('%g', level)} needs at least #{needed} held-out examples, and this model has #{held_out}"
        end

        # The smallest of the sorted scores that bounds that of a new example with this probability.
        def quantile(scores, level) = scores[[1, ((scores.size + 1) * level).round(9).ceil].max - 1]

        def margin(description, level) = quantile(description.scores.first, level)

        # The order of equal scores is that of the labels.
        def ranked(scores) = scores.each_index.sort_by { |i| [-scores[i], i] }

        def classification(description, probabilities, level)
          order = ranked(probabilities)
          scores = order.to_h { |i| [description.labels[i], probabilities[i]] }
          label, score = scores.first
          found = { "label" => label, "score" => score, "scores" => scores }
          return found unless level

          most = quantile(description.scores.first, level)
          { **found, "set" => scores.filter_map { |name, value| name if name == label || 1 - value <= most } }
        end

        def multi_label(labels, probabilities, positive)
          order = ranked(probabilities)
          { "labels" => order.filter_map { |i| labels[i] if positive[i] == 1 },
            "scores" => order.to_h { |i| [labels[i], probabilities[i]] } }
        end

        def regression(description, values, level)
          several = values.size > 1
          found = several ? { "values" => description.labels.zip(values).to_h } : { "value" => values.first }
          return found unless level

          intervals = values.zip(description.scores).map do |value, scores|
            half = quantile(scores, level)
            [value - half, value + half]
          end
          if several
            { **found,
              "intervals" => description.labels.zip(intervals).to_h }
          else
            { **found, "interval" => intervals.first }
          end
        end
      end
    end
    private_constant :Outcome
  end
end
