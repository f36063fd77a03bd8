# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "compare FIRST SECOND", "Compare two domains"
      long_desc <<~TEXT
        Embeds the inputs of both with a frozen backbone and prints how far apart they
        are, the features and labels that differ, the confidence of a classifier of the
        first in the second, and typical inputs. Labels may be missing.

          transfer compare studio/ phone/
          transfer compare studio/ phone/ --labels
          transfer compare reviews.csv tweets.csv \\
            --backbone hf/sentence-transformers/all-MiniLM-L6-v2
      TEXT
      option :labels, type: :boolean, desc: "Pair the labels of both instead, by their mean embeddings"
      shared_options :backbone, :input_column, :target_column, :on_bad_input, :seed, :quiet, :trust, :json
      def compare(first, second)
        words = recipe(second).except(:data)
        return label_map(first, second, words) if options[:labels]

        report = Transfer.compare_domains(first, second, quiet: options[:quiet], **words)
        output(report.to_h) { report.to_s.lines(chomp: true) }
      end

      private

      def label_map(first, second, words)
        found = Transfer.map_labels(first, second, quiet: options[:quiet], **words)
        header = %w[source target affinity second affinity examples]
        cells = found.map do |pair|
          [pair.source, pair.target, format("%.2f", pair.affinity), pair.second, format("%.2f", pair.second_affinity),
           pair.examples.to_s]
        end
        output(found.to_h) { [Table.render([header, *cells])] }
      end
    end
  end
end
