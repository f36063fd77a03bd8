# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "learning-curve DATA", "Measure how much more data would help"
      long_desc <<~TEXT
        Fits heads on growing parts of the embeddings, extrapolates their metric on the
        test examples, and prints a plot and the labels of which more examples are worth
        most. No model is saved.

          transfer learning-curve photos/
          transfer learning-curve photos/ --backbone resnet18 --more 100 --json
      TEXT
      option :more, banner: "N", type: :numeric, default: 200, desc: "Further examples of a label (200)"
      shared_options :backbone, :weights, :task, *OPTIONS["Data"].keys - %i[augment image_size], :seed, :device, :quiet,
                     :trust, :json
      def learning_curve(data)
        curve = Transfer.learning_curve(more: options[:more], quiet: options[:quiet], **recipe(data))
        output(curve.to_h) { curve.to_s.lines(chomp: true) }
      end
    end
  end
end
