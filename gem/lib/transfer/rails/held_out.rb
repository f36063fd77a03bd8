# frozen_string_literal: true

require "digest"

module Transfer
  module Rails
    # Held-out examples: their choice, and the predictions of a version for them.
    module HeldOut
      class << self
        # Chooses a share of each label by the digests of the inputs: equal inputs are on one side, and the choice does
        # not depend on the order of the records. Labels with one example train.
        #
        # @param examples [ActiveRecord::Relation]
        # @param share [Float]
        # @return [Array<Object>] ids
        def choose(examples, share)
          by_label = examples.pluck(:id, :label, :digest).group_by { |_, label, _| label }
          by_label.flat_map { |_, some| of_label(some, share) }
        end

        # @param trained [Transfer::Model]
        # @param model [Model]
        # @return [Array<Hash{String => Object}>] for each held-out example its id, label, prediction, score and loss:
        #   0 or 1 for a label, the absolute error for a number
        def measure(trained, model)
          model.examples.held_out.includes(:record).find_in_batches(batch_size: 256).flat_map do |batch|
            rows = batch.filter_map { |example| [example, Training.input_of(example)] if example.record }
            predictions = trained.predict(rows.map(&:last), on_bad_input: :mark)
            rows.map(&:first).zip(predictions).filter_map { |example, prediction| measured(example, prediction) }
          end
        end

        private

        def of_label(some, share)
          groups = some.group_by(&:last).sort_by { |digest, _| Digest::SHA256.hexdigest(digest) }.map(&:last)
          count = [(share * some.size).round, some.size - 1].min
          groups.each_with_object([]) do |group, chosen|
            chosen.concat(group.map(&:first)) if chosen.size + group.size <= count
          end
        end

        def measured(example, prediction)
          return if prediction.failed?

          output = prediction.to_h
          predicted = output[:label] || output[:value]
          { "example" => example.id, "label" => example.label, "predicted" => predicted, "score" => output[:score],
            "loss" => loss(predicted, example.label) }
        end

        def loss(predicted, label)
          return (predicted - Float(label)).abs if predicted.is_a?(Numeric)

          predicted == label ? 0.0 : 1.0
        end
      end
    end
  end
end
