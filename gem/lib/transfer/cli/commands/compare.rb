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
          transfer compare reviews.csv tweets.csv \\
            --backbone hf/sentence-transformers/all-MiniLM-L6-v2
      TEXT
      shared_options :backbone, :input_column, :target_column, :on_bad_input, :seed, :quiet, :trust, :json
      def compare(first, second)
        words = recipe(second).except(:data)
        report = Transfer.compare_domains(first, second, quiet: options[:quiet], **words)
        output(report.to_h) { report.to_s.lines(chomp: true) }
      end
    end
  end
end
