# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "soup MODEL MODEL ...", "Average the weights of several models"
      long_desc <<~TEXT
        The models were fine-tuned from the same backbone, with the same task, labels
        and head. Half of the labelled --data selects: a greedy soup begins with the
        best model and takes each further one that doesn't lower the metric. The other
        half is measured on. No model may have been trained on them.

          transfer soup a.transfer b.transfer --data held_out/ --save soup.transfer
      TEXT
      option :data, banner: "DATA", required: true, desc: "Labelled data to select and measure on"
      option :method, banner: "NAME", enum: %w[greedy uniform], desc: "greedy or uniform: all models (greedy)"
      shared_options :save, :input_column, :target_column, :on_bad_input, :seed, :quiet, :trust, :force, :json
      def soup(*models)
        words = recipe(options[:data]).slice(:columns, :on_bad_input, :seed, :trust)
        train_and_save do |_|
          Transfer.soup(models, data: options[:data], method: options.fetch(:method, :greedy), quiet: options[:quiet],
                                **words)
        end
      end
    end
  end
end
