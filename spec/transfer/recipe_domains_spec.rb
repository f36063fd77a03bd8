# frozen_string_literal: true

RSpec.describe Transfer::Recipe do
  let(:words) do
    {
      data: "phone/", source: "studio/", unlabelled: "more/", map_labels: { "feline" => "cat" },
      adapt: { method: "tca", components: 40 }, weigh: { method: "kmm" }
    }
  end

  let(:block) do
    described_class.build do
      data "phone/"
      source "studio/"
      unlabelled Pathname("more/")
      map_labels "feline" => "cat"
      adapt :tca, components: 40
      weigh :kmm
    end
  end

  let(:keywords) do
    described_class.build(
      { data: "phone/", source: "studio/", unlabelled: "more/", map_labels: { "feline" => "cat" },
        adapt: [:tca, { components: 40 }], weigh: { method: :kmm } }
    )
  end

  let(:written_class) do
    Class.new(described_class) do
      data "phone/"
      source "studio/"
      unlabelled "more/"
      map_labels "feline" => "cat"
      adapt :tca, components: 40
      weigh :kmm
    end
  end

  it "writes the kinds of transfer in three spellings" do
    expect(block.to_h).to eq(words.merge(map_labels: { feline: "cat" }))
    expect(keywords).to eq(block)
    expect(written_class.build).to eq(block)
  end

  it "inherits the domains of a parent class" do
    expect(Class.new(written_class).build.domains).to eq("source" => "studio/", "unlabelled" => "more/")
  end

  it "streams the rows of each domain, of which only the source needs labels" do
    recipe = described_class.build(
      { data: [{ input: "a.jpg" }], source: [{ input: "b.jpg", label: "cat" }], backbone: "mobilenet_v2" }
    )
    params, streams = Transfer::Job.const_get(:Request, false).new("train", recipe).prepare
    names = params["recipe"].slice("data", "source").values.map { |source| source["stream"] }
    expect(streams.keys).to match_array(names)
  end

  it "rejects a source that can't be read" do
    expect { described_class.build { source Object.new } }
      .to raise_error(Transfer::RecipeError, /expected a path, rows/)
  end
end
