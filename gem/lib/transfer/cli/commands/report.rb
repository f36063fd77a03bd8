# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "report MODEL", "Write a report on a model as a web page or model card"
      long_desc <<~TEXT
        Writes one page without scripts: metrics beside the baseline, classes,
        confusions, loss curves, data, recipe, versions. With --data the metrics are of
        that data, and the page shows the worst mistakes. A name that ends with .md
        gives a model card for the Hugging Face Hub.

          transfer report signs.transfer --output report.html --data new-photos/
          transfer report signs.transfer --output README.md
      TEXT
      option :output, banner: "FILE", default: "report.html", desc: "The file to write, .html or .md (report.html)"
      option :data, group: "Data", banner: "DATA", desc: "Labelled data to measure on"
      shared_options :input_column, :target_column, :group_column
      option :on_bad_input, group: "Data", banner: "WORD", default: "raise", enum: %w[raise skip],
                            desc: "raise or skip inputs that can't be read (raise)"
      shared_options :trust, :signed_by, :json
      def report(model)
        columns = RecipeWords.new(options[:data], options).columns
        words = { data: options[:data], columns:, on_bad_input: options[:on_bad_input] }
        path = open_model(model).report(options[:output], **words)
        output({ path: path.to_s }) { [path.to_s] }
      end
    end
  end
end
