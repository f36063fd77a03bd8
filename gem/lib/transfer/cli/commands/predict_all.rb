# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "predict-all MODEL DATA", "Predict all inputs of a folder or table into a file"
      long_desc <<~TEXT
        DATA is a directory of images, a manifest (CSV, JSONL, Parquet), or the URL of
        one of them in a store. The file, Parquet, CSV or JSONL by its name, has a row
        for each input in their order: row, input, the prediction, and error for an
        input that can't be read. After an interruption the same command resumes. The
        exit status is 5 if some inputs can't be read.

          transfer predict-all signs.transfer new/ --into new.parquet
          transfer predict-all mood.transfer tweets.csv --into moods.csv
          transfer predict-all signs.transfer s3://bucket/photos --into new.jsonl
      TEXT
      option :into, banner: "FILE", required: true, desc: "The file to write: .parquet, .csv or .jsonl"
      option :level, type: :numeric, banner: "SHARE", desc: "Add the prediction set or interval at this coverage"
      option :part, type: :numeric, banner: "N", default: 1000, desc: "Inputs of a part that is done as a whole (1000)"
      shared_options :input_column, :quiet, :trust, :signed_by, :json
      def predict_all(model, data)
        columns = RecipeWords.new(data, options).columns
        words = { columns:, level: options[:level], part: options[:part], quiet: options[:quiet] }.compact
        found = open_model(model).predict_all(data, into: options[:into], **words)
        output({ **found.to_h, path: found.path.to_s }) do
          failed = ", #{found.failed} of them can't be read" if found.failed.positive?
          ["#{found.rows} predictions in #{found.path}#{failed}"]
        end
        finish(ExitStatus::SOME_FAILED) if found.failed.positive?
      end
    end
  end
end
