# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "select MODEL DATA", "Select the inputs to label next"
      long_desc <<~TEXT
        Ranks unlabelled inputs by how much their labels are expected to improve the
        model. DATA is a directory of images, or a manifest. Prints a line per input
        with tabs: score and input, the most useful first. Of near-duplicates one is
        selected.

          transfer select signs.transfer new/ --count 50
          transfer select signs.transfer new/ --labelled photos/ --method core_set
      TEXT
      option :count, banner: "N", type: :numeric, default: 50, desc: "Inputs to select (50)"
      option :method, banner: "NAME", enum: %w[auto uncertainty margin core_set badge random], default: "auto",
                      desc: "How they are ranked (auto)"
      option :labelled, banner: "DATA", desc: "The labelled data so far: not selected again"
      shared_options :input_column, :on_bad_input, :trust, :signed_by, :json
      def select(model, data)
        words = { labelled: options[:labelled], columns: RecipeWords.new(data, options).columns,
                  on_bad_input: options[:on_bad_input] }.compact
        selection = open_model(model).select(data, count: options[:count], method: options[:method], **words)
        output(selection.to_h) { selection.map { |one| "#{format('%.4f', one.score)}\t#{select_name(one.input)}" } }
      end

      private

      def select_name(input) = (input.is_a?(String) ? input : JSON.generate(input)).tr("\t\n", " ")
    end
  end
end
