# frozen_string_literal: true

require "json"

# docs/reference/recipe.md is read by people and checked by the core's own parser.
RSpec.describe "docs/reference/recipe.md" do
  page = File.read(File.expand_path("../docs/reference/recipe.md", __dir__))
  examples = page.scan(/^```ruby\n(.*?)^```/m).flatten

  # What the core says about each recipe, its blocks among it: the problems, or the recipe with all defaults.
  def parse(*recipes)
    code = <<~PYTHON
      import json, sys
      from transfer_core.backbones import facts
      from transfer_core.runtime.errors import RecipeError
      from transfer_core.plan.plan import complete
      from transfer_core.recipe.schema import to_plain
      from transfer_core.recipe.parser import parse_recipe
      def judge(recipe):
          try:
              parsed = parse_recipe(recipe)
              complete(parsed, facts(parsed.backbone))
              return to_plain(parsed)
          except RecipeError as error:
              return str(error)
      print(json.dumps([judge(recipe) for recipe in json.load(sys.stdin)]))
    PYTHON
    core = File.expand_path("../python", __dir__)
    output, status = Open3.capture2e({ "PYTHONPATH" => core }, Workers::PYTHON, "-c", code, stdin_data: recipes.to_json)
    raise output unless status.success?

    JSON.parse(output)
  end

  it "has examples for all steps" do
    expect(examples.size).to be >= 8
  end

  examples.grep_v(/Transfer\.train|Photo\.where/).each do |example|
    it "shows a right recipe: #{example.lines.first.strip}" do
      # A page shows alternatives one below the other; each line alone must be right, too.
      recipes = example.lines.map do |line|
        recipe = Transfer::Recipe.build({ data: "photos/", backbone: "mobilenet_v2" }) { instance_eval(line) }.to_h
        recipe[:steps] ? recipe.merge(steps: recipe[:steps] + [{ type: "train" }]) : recipe
      end
      expect(parse(*recipes)).to all(be_a(Hash))
    end
  end

  it "names every word, and every option of the core" do
    steps = [{ "type" => "freeze" }, { "type" => "unfreeze", "all" => true }, { "type" => "lora" },
             { "type" => "train" }]
    core, = parse({ "data" => "p", "backbone" => "vgg11", "head" => "mlp", "source" => "q", "steps" => steps,
                    "augment" => %w[flip crop rotate color blur noise jpeg grayscale rand_augment style mixup cutmix] })
    inner = core.values_at("head", "columns", "split", "text")
    options = [core, *inner, *core["augment"], *core["steps"]].flat_map(&:keys)
    words = (options | Transfer::Recipe::WORDS) - %w[version steps type path blocks]
    expect(words.reject { |word| page.match?(/\b#{word}\b/) }).to eq([])
  end

  it "tells the core's defaults" do
    core, = parse({ "data" => "p", "backbone" => "vgg11", "head" => "mlp", "augment" => %w[crop rotate color flip] })
    expect(core).to include(
      "weights" => "pretrained", "task" => "auto", "on_bad_input" => "raise", "preset" => "fast", "seed" => 0,
      "device" => "auto", "precision" => "auto", "trust" => false, "keep_examples" => true,
      "split" => { "test" => 0.2, "valid" => 0.15, "group" => nil, "near_duplicates" => true,
                   "measure" => "test" },
      "columns" => { "input" => nil, "target" => "label", "split" => "split", "group" => nil },
      "text" => { "max_length" => nil, "long" => "truncate", "prefix" => "" },
      "head" => { "type" => "mlp", "hidden" => [256], "dropout" => 0.1 },
      "augment" => [{ "type" => "crop", "min_scale" => 0.5 }, { "type" => "rotate", "degrees" => 15.0 },
                    { "type" => "color", "strength" => 0.2 }, { "type" => "flip", "probability" => 0.5 }]
    )
  end
end
