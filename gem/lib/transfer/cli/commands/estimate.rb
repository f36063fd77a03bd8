# frozen_string_literal: true

require_relative "../recipe_words"

module Transfer
  module CLI
    class Root
      desc "estimate DATA", "Estimate time, memory and disk of a training"
      long_desc <<~TEXT
        Times a few examples with the options of a training and prints what each of its
        steps is expected to take on this machine. Nothing is trained or saved.

          transfer estimate photos/
          transfer estimate photos/ --backbone resnet18 --preset best --json
      TEXT
      shared_options :backbone, *OPTIONS.values_at(*RecipeWords::GROUPS.drop(1)).flat_map(&:keys), :preset, :task,
                     :trust, :json
      def estimate(data)
        found = Transfer.estimate(quiet: options[:quiet], **recipe(data))
        output(found.to_h) { found.to_s.lines(chomp: true) }
      end
    end
  end
end
