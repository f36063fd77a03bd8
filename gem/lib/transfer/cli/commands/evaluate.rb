# frozen_string_literal: true

require_relative "../matrix"
require_relative "../report"

module Transfer
  module CLI
    class Root
      desc "evaluate MODEL DATA", "Evaluate a model on labelled data"
      long_desc <<~TEXT
        DATA is a directory with one directory per class, or a manifest, as in training.

          transfer evaluate signs.transfer new-photos/
          transfer evaluate signs.transfer test.csv --target-column species
          transfer evaluate signs.transfer test.csv --group-column camera
      TEXT
      shared_options :input_column, :target_column, :group_column
      option :on_bad_input, group: "Data", banner: "WORD", default: "raise", enum: %w[raise skip],
                            desc: "raise or skip inputs that can't be read (raise)"
      shared_options :trust, :signed_by, :json
      def evaluate(model, data)
        loaded = open_model(model)
        columns = RecipeWords.new(data, options).columns
        metrics = loaded.evaluate(data, columns:, on_bad_input: options[:on_bad_input])
        output(metrics) do
          nouns = Report::NOUNS.fetch(loaded.modality)
          tables = [Report.per_class(metrics, nouns), Matrix.render(metrics)].compact
          [*Report.metrics(metrics, nouns), *Report.coverage(metrics), *tables.flat_map { |table| ["", table] }]
        end
      end
    end
  end
end
