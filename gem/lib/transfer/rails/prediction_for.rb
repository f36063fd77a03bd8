# frozen_string_literal: true

module Transfer
  module Rails
    # The prediction of one record under one name.
    class PredictionFor
      # Arguments of `has_prediction`.
      Options = ::Data.define(:name, :from, :model, :recipe, :labels, :accept) do
        # @param record_class [Class]
        # @param name [Symbol]
        # @return [Options] with defaults for omitted words
        # @raise [ArgumentError] for an unknown word
        def self.for(record_class, name, **words)
          model = "#{record_class.table_name.tr('.', '_')}_#{name}"
          recipe = "#{record_class.name.delete_suffix('Record')}#{name.to_s.camelize}Recipe"
          words = { model:, recipe:, labels: nil, accept: 0.0, **words }
          new(name: name.to_s, **words, model: words[:model].to_s, recipe: words[:recipe].to_s)
        end
      end

      # Attributes of a prediction in its notification.
      ANNOUNCED = %w[name state label score version_id].freeze
      private_constant :ANNOUNCED

      # @param record [ActiveRecord::Base]
      # @param options [Options]
      def initialize(record, options)
        @record = record
        @options = options
      end

      # @return [Prediction, nil]
      def stored = @record.public_send(:"#{@options.name}_prediction")

      # @return [String, Float, nil] label or number; nil unless it was accepted
      def value
        return unless stored&.accepted?

        stored.corrected_label || stored.label || stored.output&.fetch("value", nil)
      end

      # @return [PredictedInput]
      def input = PredictedInput.new(@record, @options.from)

      # After a commit: predicts again if the input has changed.
      def changed
        digest = input.digest
        return if digest.nil? || (stored && stored.digest == digest && !stored.failed?)

        put(state: stored&.version_id ? "stale" : "pending", digest: nil, corrected_label: nil)
        predict_later
      end

      # @return [PredictJob]
      def predict_later = PredictJob.perform_later(@record, @options.name)

      # Predicts now, unless input and version are those of the stored prediction.
      # @return [Prediction]
      # @raise [Transfer::Error] if the model can't predict; an unusable input is a state, not an error
      def predict!
        live = LiveModels.fetch(@options.model)
        return put(state: "pending", error: "#{@options.model} has no live version yet") unless live

        digest = input.digest
        return stored if current?(digest, live.version_id)

        put(**outcome(live.model.predict(input.value, on_bad_input: :mark)), version_id: live.version_id, digest:)
      rescue PredictedInput::Missing, DataError => error
        fail(error)
      end

      # @param prediction [Transfer::Prediction, Transfer::BadInput] of this record's input
      # @return [Hash{Symbol => Object}] attributes of the stored prediction
      def outcome(prediction)
        return failure(prediction.error) if prediction.failed?

        output = prediction.to_h.transform_keys(&:to_s)
        score = output["score"]
        state = score.nil? || score >= @options.accept ? "accepted" : "abstained"
        { state:, label: output["label"], score:, novelty: output["novelty"], output:, error: nil }
      end

      # Stores that the input can't be predicted.
      # @param error [Transfer::Error]
      # @return [Prediction]
      def fail(error) = put(**failure(error))

      # Stores attributes of the prediction.
      # @return [Prediction]
      def put(**attributes)
        prediction = stored || Prediction.create_or_find_by!(record: @record, name: @options.name) do |new|
          new.assign_attributes(attributes)
        end
        prediction.update!(attributes)
        @record.association(:"#{@options.name}_prediction").target = prediction
        ActiveSupport::Notifications.instrument(
          "prediction.transfer", record: @record, **prediction.slice(*ANNOUNCED).symbolize_keys
        )
        prediction
      end

      # Stores the label that a person gives: it is the value from now on, and an example for the next training.
      #
      # @param label [String]
      # @param by [ActiveRecord::Base, nil] the person
      # @return [Example]
      # @raise [ArgumentError] for a blank label
      def correct!(label, by: nil)
        raise ArgumentError, "a label is text, got #{label.inspect}" if label.to_s.strip.empty?

        # Read before the transaction, see {Record#exclusively}.
        predicted = stored&.label
        digest = input.digest
        Record.transaction do
          prediction = put(state: "accepted", corrected_label: label.to_s, error: nil, digest:)
          prediction.feedback.create!(user: by, predicted:, label: label.to_s)
          learn(label)
        end
      end

      # @param digest [String, nil] of the present input
      # @param version_id [Integer] of the live version
      # @return [Boolean] whether the stored prediction needs no other; a label by a person stays while its input does
      def current?(digest, version_id)
        return false unless stored && stored.digest == digest && !stored.failed?

        !stored.corrected_label.nil? || stored.version_id == version_id
      end

      # Makes an example of the record if its class has `labels:` and this record a label.
      # @return [Example, nil]
      def learn_label
        label = @record.public_send(@options.labels)
        learn(label) unless label.nil?
      end

      private

      # The message without the number of the input in its batch.
      def failure(problem)
        reason = problem.message.sub(/\A\w+ \d+ of \d+: /, "")
        error = "#{@record.class.name} #{@record.id}: #{reason}"
        { state: "failed", error:, label: nil, score: nil, novelty: nil, output: nil }
      end

      def learn(label)
        Example.put(Rails.model(@options.model), @record, label.to_s, input.digest.to_s)
      end
    end
  end
end
