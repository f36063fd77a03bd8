# frozen_string_literal: true

module Transfer
  module Rails
    # Predicts for many records in one call of the model.
    class PredictMany
      # @param options [PredictionFor::Options]
      # @param records [Array<ActiveRecord::Base>]
      def initialize(options, records)
        @options = options
        @records = records
      end

      # @return [Integer] number of records that were predicted; those with the same input and version are left out
      # @raise [Transfer::Error] if no version is live
      def perform
        live = LiveModels.fetch(@options.model)
        raise ConfigurationError, "#{@options.model} has no live version. Fix: train one first" unless live

        due = due_for(live)
        predictions = live.model.predict(due.map(&:last), on_bad_input: :mark)
        Record.transaction do
          due.zip(predictions) do |(prediction_for, digest, _), prediction|
            prediction_for.put(**prediction_for.outcome(prediction), version_id: live.version_id, digest:)
          end
        end
        due.size
      end

      private

      def due_for(live)
        ActiveRecord::Associations::Preloader.new(records: @records, associations: preloaded).call
        @records.filter_map do |record|
          one = PredictionFor.new(record, @options)
          digest = one.input.digest
          next if one.current?(digest, live.version_id)

          [one, digest, one.input.value]
        rescue PredictedInput::Missing => error
          one.fail(error)
          nil
        end
      end

      def preloaded
        names = [:"#{@options.name}_prediction"]
        from = @options.from
        attached = from.is_a?(Symbol) && @records.first.class.reflect_on_attachment(from)
        attached ? [*names, { "#{from}_attachment": :blob }] : names
      end
    end
  end
end
